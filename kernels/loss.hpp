// Softmax cross-entropy per lane.
#pragma once

#include <span>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// Target distribution: 1 - e + e / K on the label and e / K elsewhere, e = smoothing, K = classes.
/// loss[l] = mean over the lane's rows of -sum_k t_k log softmax(logits)_k; hits[l] = rows whose
/// first largest logit is the label; dlogits = weight * loss_scale * d(sum_l loss[l]) / dlogits.
/// A label outside [0, K): Error(kInput) on a CPU; on a GPU, whose labels the host cannot see, the
/// loss of the lane and the gradient of the row are NaN.
struct CrossEntropy {
  int64_t lanes = 1;                ///< rows are in equal consecutive parts, one per lane
  int64_t rows = 0;                 ///< N per lane
  int64_t classes = 0;              ///< K
  std::span<const float> logits;    ///< [lanes, N, K]
  std::span<const int32_t> labels;  ///< [N], the same for every lane, in [0, K)
  float smoothing = 0;
  float weight = 1;                      ///< factor of the gradient
  DeviceValue<float> loss_scale = 1.0f;  ///< likewise
  std::span<float> loss;                 ///< [lanes]
  std::span<int32_t> hits;               ///< [lanes]
  std::span<float> dlogits{};            ///< [lanes, N, K]; empty = not wanted
};
void cross_entropy(CpuStream& stream, const CrossEntropy& a);
void cross_entropy(CudaStream& stream, const CrossEntropy& a);

}  // namespace passnorm::kernels
