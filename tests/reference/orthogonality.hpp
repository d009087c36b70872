// How far transforms are from orthogonal ones, one lane, from the definition.
#pragma once

#include <vector>

#include "tests/reference/sums.hpp"

namespace reference {

struct Orthogonality {
  double loss = 0, loss_magnitude = 0;  ///< mean over the transforms of the norm
  Sums dt;                              ///< of that mean; 0 where the norm is 0
};

/// t [n, j, j]; the norm of T T' - I, or of T (T' - I) when times_gram.
inline Orthogonality orthogonality(int64_t n, int64_t j, const Values& t, bool times_gram) {
  Orthogonality result;
  result.dt = Sums(n * j * j);
  const double mean = 1 / static_cast<double>(n);
  for (int64_t sample = 0; sample < n; ++sample) {
    const auto at = [&](int64_t row, int64_t column) {
      return t[static_cast<size_t>((sample * j + row) * j + column)];
    };
    Sums m(j * j);
    for (int64_t a = 0; a < j; ++a)
      for (int64_t b = 0; b < j; ++b) {
        for (int64_t k = 0; k < j; ++k) m.add(a * j + b, at(a, k) * at(b, k));
        m.add(a * j + b, times_gram ? -at(a, b) : a == b ? -1.0 : 0.0);
      }
    const double norm = std::sqrt(dot(m.value, m.value));
    const double magnitude = std::sqrt(dot(m.magnitude, m.magnitude));  // bounds the norm's error
    result.loss += norm * mean;
    result.loss_magnitude += magnitude * mean;
    if (norm == 0) continue;
    for (int64_t a = 0; a < j; ++a)
      for (int64_t b = 0; b < j; ++b) {
        // The norm's derivative by m[i] is m[i] / norm: a relative error of both factors.
        const auto add = [&](int64_t i, double derivative) {
          const auto k = static_cast<size_t>(i);
          const double factor = derivative * mean / norm;
          result.dt.add(
              (sample * j + a) * j + b, m.value[k] * factor,
              std::abs(factor) * (m.magnitude[k] + std::abs(m.value[k]) * magnitude / norm));
        };
        for (int64_t i = 0; i < j; ++i) {
          add(a * j + i, at(i, b));
          add(i * j + a, at(i, b));
        }
        if (times_gram) add(a * j + b, -1);
      }
  }
  return result;
}

}  // namespace reference
