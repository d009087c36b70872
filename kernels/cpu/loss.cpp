#include <algorithm>
#include <cmath>

#include "kernels/loss_common.hpp"
#include "kernels/runtime/parallel.hpp"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

void check_labels(const CrossEntropy& a) {
  for (size_t i = 0; i < a.labels.size(); ++i)
    if (a.labels[i] < 0 || a.labels[i] >= a.classes)
      fail(Fault::kInput, "label ", a.labels[i], " of sample ", i, " is outside [0, ", a.classes,
           "): the data has other classes than the model");
}

}  // namespace

void cross_entropy(CpuStream& stream, const CrossEntropy& a) {
  check(a);
  check_labels(a);
  const int64_t classes = a.classes, rows = a.lanes * a.rows;
  const double off_label = static_cast<double>(a.smoothing) / static_cast<double>(classes);
  const double on_label = 1.0 - static_cast<double>(a.smoothing);  // on top of off_label
  const double gradient_scale =
      static_cast<double>(a.weight * a.loss_scale.get()) / static_cast<double>(a.rows);
  const Scratch<double> losses(stream, rows);
  const Scratch<int32_t> hits(stream, rows);
  parallel_for(stream, rows, std::max<int64_t>(1, 4096 / classes), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = a.logits.data() + row * classes;
      const int32_t label = a.labels[static_cast<size_t>(row % a.rows)];
      const float* largest = std::max_element(x, x + classes);
      double exponentials = 0, sum = 0;
      for (int64_t k = 0; k < classes; ++k) {
        exponentials += static_cast<double>(std::exp(x[k] - *largest));
        sum += static_cast<double>(x[k]);
      }
      const double log_total = static_cast<double>(*largest) + std::log(exponentials);
      double loss = on_label * (log_total - static_cast<double>(x[label]));
      if (off_label != 0) loss += off_label * (static_cast<double>(classes) * log_total - sum);
      losses.data()[row] = loss;
      hits.data()[row] = largest - x == label;
      if (a.dlogits.empty()) continue;
      float* dx = a.dlogits.data() + row * classes;
      for (int64_t k = 0; k < classes; ++k) {
        const double probability = static_cast<double>(std::exp(x[k] - *largest)) / exponentials;
        dx[k] = static_cast<float>(gradient_scale *
                                   (probability - off_label - (k == label ? on_label : 0)));
      }
    }
  });
  for (int64_t l = 0; l < a.lanes; ++l) {
    double loss = 0;
    int32_t count = 0;
    for (int64_t row = l * a.rows; row < (l + 1) * a.rows; ++row) {
      loss += losses.data()[row];
      count += hits.data()[row];
    }
    a.loss[static_cast<size_t>(l)] = static_cast<float>(loss / static_cast<double>(a.rows));
    a.hits[static_cast<size_t>(l)] = count;
  }
}

}  // namespace passnorm::kernels
