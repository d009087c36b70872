#include "cli/interval.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/runtime/check.hpp"

namespace passnorm::cli {
namespace {

/// The regularised incomplete beta function I_x(a, b) for x <= (a + 1) / (a + b + 2), where its
/// continued fraction (DLMF 8.17.22) converges in about sqrt(max(a, b)) steps (Lentz's method).
double lower_incomplete_beta(double x, double a, double b) {
  constexpr double kTiny = 1e-300;
  double fraction = 1, c = 1, d = 0;
  for (int64_t i = 1; i < 1'000'000; ++i) {
    const auto m = static_cast<double>(i / 2);
    const double term = i % 2 == 0 ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
                                   : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 + term * d;
    c = 1 + term / c;
    if (std::abs(d) < kTiny) d = kTiny;
    if (std::abs(c) < kTiny) c = kTiny;
    d = 1 / d;
    fraction *= c * d;
    if (std::abs(c * d - 1) < 1e-15) break;
  }
  const double log_beta = std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b);
  return std::exp(a * std::log(x) + b * std::log1p(-x) - log_beta) / (a * fraction);
}

double incomplete_beta(double x, double a, double b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  return x <= (a + 1) / (a + b + 2) ? lower_incomplete_beta(x, a, b)
                                    : 1 - lower_incomplete_beta(1 - x, b, a);
}

/// The x for which I_x(a, b) = p.
double beta_quantile(double p, double a, double b) {
  double low = 0, high = 1;
  for (int i = 0; i < 64; ++i) {
    const double middle = (low + high) / 2;
    (incomplete_beta(middle, a, b) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

Interval t_interval(std::span<const double> values) {
  PASSNORM_CHECK(values.size() >= 2, "an interval of ", values.size(), " values");
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  // P[|T| > t] = I_x(f / 2, 1 / 2) with x = f / (f + t^2), f degrees of freedom (DLMF 8.17).
  const double f = n - 1, x = beta_quantile(0.05, f / 2, 0.5);
  const double half = std::sqrt(f * (1 - x) / x) * std::sqrt(squares / f / n);
  return {mean - half, mean + half};
}

Interval wilson_interval(double share, int64_t n) {
  PASSNORM_CHECK(n > 0 && share >= 0 && share <= 1, share, " of ", n);
  constexpr double z = 1.959963984540054;  // 97.5% quantile of the normal distribution
  const double zz = z * z / static_cast<double>(n);
  const double half = z * std::sqrt((share * (1 - share) + zz / 4) / static_cast<double>(n));
  return {std::max(0.0, (share + zz / 2 - half) / (1 + zz)),
          std::min(1.0, (share + zz / 2 + half) / (1 + zz))};
}

Interval clopper_pearson_interval(int64_t k, int64_t n) {
  PASSNORM_CHECK(n > 0 && k >= 0 && k <= n, k, " of ", n);
  const auto in = static_cast<double>(k), out = static_cast<double>(n - k);
  return {k == 0 ? 0 : beta_quantile(0.025, in, out + 1),
          k == n ? 1 : beta_quantile(0.975, in + 1, out)};
}

}  // namespace passnorm::cli
