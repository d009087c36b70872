// Optimisers over flat arenas: one call for all parameters.
#pragma once

#include <array>
#include <span>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// What the updates of a run keep in device memory.
struct UpdateState {
  float loss_scale = 1;     ///< factor of every loss's gradient: above 1 for f16 only
  float g_scale = 1;        ///< factor of the gradient: clipping, and 1 / loss_scale
  float gradient_norm = 0;  ///< before clipping, without the loss scale; not finite: see apply
  int32_t apply = 1;        ///< 0: a loss or the gradient is NaN or infinite, nothing is updated
  int32_t updates = 0;      ///< t: updates so far, this one included
  int32_t good_steps = 0;   ///< updates since loss_scale last changed
};

/// Before an update: the norm of the gradient, and whether it and the losses are finite.
///   gradient_norm = sqrt(sum g^2) / loss_scale, in a fixed order
///   g_scale = min(1, clip_norm / gradient_norm) / loss_scale
/// When the norm (in f32) and the losses are finite apply = 1 and updates grows by one, else apply
/// = 0. With growth_interval > 0 loss_scale is halved (not below 1) by a step that is not applied
/// and doubled (not above 2^24) after growth_interval applied ones in a row (Micikevicius et al.,
/// Mixed Precision Training).
struct UpdateCheck {
  std::span<const float> g;                        ///< [P]
  std::array<std::span<const float>, 2> losses{};  ///< that must be finite: lanes', sites'
  float clip_norm = 0;                             ///< 0: no limit
  int32_t growth_interval = 0;                     ///< 0: loss_scale stays
  UpdateState* state = nullptr;                    ///< in device memory
};
void update_check(CpuStream& stream, const UpdateCheck& a);
void update_check(CudaStream& stream, const UpdateCheck& a);

/// d = g_scale g + weight_decay w;  buf = momentum buf + d;
/// w -= lr (nesterov ? d + momentum buf : buf).  buf starts as zero; without momentum it may be
/// empty.
struct SgdStep {
  std::span<float> w;                  ///< [P]
  std::span<const float> g;            ///< [P]
  std::span<float> momentum_buffer{};  ///< [P], or empty when momentum is 0
  View w_copy{};                       ///< [P] f16 | bf16: w after the update, or empty
  DeviceValue<float> lr = 0.01f;
  float momentum = 0.9f;
  float weight_decay = 0;
  bool nesterov = false;
  DeviceValue<float> g_scale = 1.0f;  ///< factor of the gradient
  DeviceValue<int32_t> apply = 1;     ///< 0: nothing changes
};
void sgd_step(CpuStream& stream, const SgdStep& a);
void sgd_step(CudaStream& stream, const SgdStep& a);

/// Adam with L2 weight decay added to the gradient (Kingma and Ba 2015; PyTorch's Adam):
/// d = g_scale g + weight_decay w; m = b1 m + (1 - b1) d; v = b2 v + (1 - b2) d^2;
/// w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
struct AdamStep {
  std::span<float> w;        ///< [P]
  std::span<const float> g;  ///< [P]
  std::span<float> m;        ///< [P]
  std::span<float> v;        ///< [P]
  View w_copy{};             ///< as in SgdStep
  DeviceValue<float> lr = 1e-3f;
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0;
  DeviceValue<int32_t> step = 1;  ///< t, from 1
  DeviceValue<float> g_scale = 1.0f;
  DeviceValue<int32_t> apply = 1;
};
void adam_step(CpuStream& stream, const AdamStep& a);
void adam_step(CudaStream& stream, const AdamStep& a);

/// y = kept when apply is 0: takes back what a step that is not applied did to running statistics.
struct Restore {
  std::span<const float> kept;  ///< [n]
  std::span<float> y;           ///< [n]
  DeviceValue<int32_t> apply = 1;
};
void restore(CpuStream& stream, const Restore& a);
void restore(CudaStream& stream, const Restore& a);

}  // namespace passnorm::kernels
