#include "verify/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "kernels/runtime/check.hpp"

namespace passnorm::verify {
namespace {

/// log2 of sum_{i >= k} C(n, i) 2^-n for k > n / 2: the first term times a falling series.
double upper_tail(int64_t k, int64_t n) {
  // C(n, k) = prod (n - i) / (i + 1), as mantissa and exponent: a sum of logarithms would lose the
  // digits that cancel against -n.
  double mantissa = 1;
  int64_t exponent = -n;
  for (int64_t i = 0; i < n - k; ++i) {
    int shift = 0;
    mantissa =
        std::frexp(mantissa * static_cast<double>(n - i) / static_cast<double>(i + 1), &shift);
    exponent += shift;
  }
  double term = 1, sum = 1;
  for (int64_t i = k; i < n && term > sum * 0x1p-60; ++i) {
    term *= static_cast<double>(n - i) / static_cast<double>(i + 1);
    sum += term;
  }
  return static_cast<double>(exponent) + std::log2(mantissa * sum);
}

/// A success probability after exponential tilting: p e^t / (1 - p + p e^t).
double tilted(double p, double t) { return p / (p + (1 - p) * std::exp(-t)); }

/// The t >= 0 for which `k` successes are expected, 0 where more are expected anyway.
double tilt_to(double k, std::span<const double> p) {
  const auto expected = [&](double t) {
    double sum = 0;
    for (const double x : p) sum += tilted(x, t);
    return sum;
  };
  double low = 0, high = 1;
  if (expected(0) >= k) return 0;
  while (expected(high) < k && high < 512) high *= 2;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (expected(middle) < k ? low : high) = middle;
  }
  return high;
}

/// P[X = first + i] of the Poisson binomial, without the cells at both ends that are below 1e-250:
/// there are at most n of them at each of n steps, so that less than 1e-240 is lost.
struct Distribution {
  int64_t first = 0;
  std::vector<double> cells = {1};

  void add(double p) {
    cells.push_back(0);
    for (size_t i = cells.size() - 1; i > 0; --i) cells[i] = cells[i] * (1 - p) + cells[i - 1] * p;
    cells[0] *= 1 - p;
    constexpr double kNothing = 1e-250;
    while (cells.back() < kNothing) cells.pop_back();
    const auto begin =
        std::ranges::find_if(cells, [](double x) { return x >= kNothing; }) - cells.begin();
    cells.erase(cells.begin(), cells.begin() + begin);
    first += begin;
  }
};

}  // namespace

double log2_binomial_tail(int64_t matched, int64_t total) {
  PASSNORM_CHECK(total >= 0 && matched <= total, matched, " of ", total, " bits");
  if (matched <= 0) return 0;
  if (2 * matched > total) return upper_tail(matched, total);
  // P[X >= k] = 1 - P[X <= k - 1] = 1 - P[X >= n - k + 1]
  return std::log1p(-std::exp2(upper_tail(total - matched + 1, total))) * std::numbers::log2e;
}

double log2_poisson_binomial_tail(int64_t matched, std::span<const double> p) {
  const auto n = std::ssize(p);
  PASSNORM_CHECK(matched <= n, matched, " of ", n, " trials");
  PASSNORM_CHECK(std::ranges::all_of(p, [](double x) { return x >= 0 && x <= 1; }),
                 "a probability outside [0, 1]");
  if (matched <= 0) return 0;
  if (std::ranges::count_if(p, [](double x) { return x > 0; }) < matched)
    return -std::numeric_limits<double>::infinity();
  // Tilted by t, P[X = x] is e^(t x) / M(t) times as large, M(t) = prod (1 - p + p e^t) the moment
  // generating function. With t so that about `matched` successes are expected, what the tail
  // consists of is no longer small: no logarithms, no cancellation.
  //   P[X >= k] = M(t) e^(-t k) sum_{x >= k} e^(-t (x - k)) P_t[X = x]
  const double k = static_cast<double>(matched);
  const double t = tilt_to(std::min(k, static_cast<double>(n) - 0.5), p);
  double log_m = 0;  // of M(t) e^(-t n)
  Distribution d;
  for (const double x : p) {
    log_m += std::log(x + (1 - x) * std::exp(-t));
    d.add(tilted(x, t));
  }
  double upper = 0, lower = 0;
  for (size_t i = d.cells.size(); i-- > 0;) {
    const int64_t x = d.first + static_cast<int64_t>(i);
    if (x >= matched)
      upper += d.cells[i] * std::exp(-t * static_cast<double>(x - matched));
    else
      lower += d.cells[i];
  }
  // More were expected anyway: near 1 the logarithm is that of the complement.
  if (t == 0 && upper > 0.5) return std::log1p(-lower) * std::numbers::log2e;
  return (log_m + t * static_cast<double>(n - matched) + std::log(upper)) * std::numbers::log2e;
}

}  // namespace passnorm::verify
