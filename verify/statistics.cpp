#include "verify/statistics.hpp"

#include <cmath>
#include <limits>
#include <numbers>

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

}  // namespace

double log2_binomial_tail(int64_t matched, int64_t total) {
  PASSNORM_CHECK(total >= 0 && matched <= total, matched, " of ", total, " bits");
  if (matched <= 0) return 0;
  if (2 * matched > total) return upper_tail(matched, total);
  // P[X >= k] = 1 - P[X <= k - 1] = 1 - P[X >= n - k + 1]
  return std::log1p(-std::exp2(upper_tail(total - matched + 1, total))) * std::numbers::log2e;
}

}  // namespace passnorm::verify
