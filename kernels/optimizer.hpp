// Optimisers over flat arenas: one call for all parameters.
#pragma once

#include <span>

#include "kernels/runtime/stream.hpp"

namespace passnorm::kernels {

/// d = g_scale g + weight_decay w;  buf = momentum buf + d (first step: buf = d);
/// w -= lr (nesterov ? d + momentum buf : buf).  Without momentum buf may be empty.
struct SgdStep {
  std::span<float> w;                  ///< [P]
  std::span<const float> g;            ///< [P]
  std::span<float> momentum_buffer{};  ///< [P], or empty when momentum is 0
  float lr = 0.01f;
  float momentum = 0.9f;
  float weight_decay = 0;
  bool nesterov = false;
  bool first_step = false;
  float g_scale = 1;  ///< factor of the gradient (clipping, loss scale)
};
void sgd_step(CpuStream& stream, const SgdStep& a);

/// Adam with L2 weight decay added to the gradient (Kingma and Ba 2015; PyTorch's Adam):
/// d = g_scale g + weight_decay w; m = b1 m + (1 - b1) d; v = b2 v + (1 - b2) d^2;
/// w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
struct AdamStep {
  std::span<float> w;        ///< [P]
  std::span<const float> g;  ///< [P]
  std::span<float> m;        ///< [P]
  std::span<float> v;        ///< [P]
  float lr = 1e-3f;
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0;
  int64_t step = 1;  ///< t, from 1
  float g_scale = 1;
};
void adam_step(CpuStream& stream, const AdamStep& a);

}  // namespace passnorm::kernels
