// How far a result may be from the exact one, derived from types and lengths; never typed in.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/runtime/dtype.hpp"

namespace passnorm::test {

/// u: half the distance from 1 to the next value.
inline double unit_roundoff(DType dtype) { return epsilon_of(dtype) / 2; }

/// Relative error of n roundings of unit u, times the sum of absolute terms: the smaller of the
/// worst case n u / (1 - n u) and the bound of Higham and Mary (SIAM J. Sci. Comput. 41, 2019)
/// exp(k sqrt(n) u + n u^2 / (1 - u)) - 1, which fails with probability below 2 n exp(-k^2 / 2); k
/// = 8: 3e-14 n.
inline double gamma(double n, double u) {
  const double worst = n * u < 1 ? n * u / (1 - n * u) : std::numeric_limits<double>::infinity();
  return std::min(worst, std::expm1(8 * std::sqrt(n) * u + n * u * u / (1 - u)));
}

/// What stands between a kernel's result and the oracle's.
struct Bound {
  double terms = 1;   ///< roundings on the longest path to a result, in type `compute`
  int roundings = 1;  ///< roundings to the type of the output
  DType compute = DType::kF32;

  /// For a result of this value whose terms' absolute values sum to `magnitude`.
  double tolerance(double value, double magnitude, DType output) const {
    const double computed = gamma(terms, unit_roundoff(compute)) * magnitude;
    // Below the normal numbers the spacing is constant (f16), or a library may flush to zero (f32,
    // bf16).
    const double tiny = output == DType::kF16   ? 0x1p-25
                        : output == DType::kF64 ? 0x1p-1022
                                                : 0x1p-126;
    return computed + roundings * (unit_roundoff(output) * (std::abs(value) + computed) + tiny);
  }
};

}  // namespace passnorm::test
