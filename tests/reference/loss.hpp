// Softmax cross-entropy with label smoothing, one lane, from its definition.
#pragma once

#include <algorithm>
#include <vector>

#include "tests/reference/sums.hpp"

namespace reference {

struct CrossEntropyResult {
  double loss = 0, loss_magnitude = 0;
  int64_t hits = 0;
  Sums dlogits;  ///< of the mean over the rows
};
inline CrossEntropyResult cross_entropy(int64_t rows, int64_t classes, const Values& logits,
                                        const std::vector<int32_t>& labels, double smoothing) {
  CrossEntropyResult r;
  r.dlogits = Sums(rows * classes);
  const double n = static_cast<double>(rows), k = static_cast<double>(classes);
  for (int64_t i = 0; i < rows; ++i) {
    const double* z = logits.data() + i * classes;
    const double* top = std::max_element(z, z + classes);
    const int64_t label = labels[static_cast<size_t>(i)];
    r.hits += top - z == label;
    double sum = 0;
    for (int64_t j = 0; j < classes; ++j) sum += std::exp(z[j] - *top);
    for (int64_t j = 0; j < classes; ++j) {
      const double log_softmax = z[j] - *top - std::log(sum);
      const double target = smoothing / k + (j == label ? 1 - smoothing : 0);
      r.loss -= target * log_softmax / n;
      r.loss_magnitude += target * (std::abs(z[j]) + std::abs(*top) + std::log(sum)) / n;
      // an exponent is known to u times the size of its argument: d exp(t) = exp(t) dt
      const double p = std::exp(log_softmax);
      r.dlogits.add(i * classes + j, p / n, p * (1 + std::abs(z[j]) + std::abs(*top)) / n);
      r.dlogits.add(i * classes + j, -target / n);
    }
  }
  return r;
}

}  // namespace reference
