// What the optimisers of both devices share: the checks of their arguments and what an update
// decides.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/optimizer.hpp"

namespace passnorm::kernels {

inline void check_copy(const View& copy, size_t weights) {
  PASSNORM_CHECK(!copy || (copy.size == static_cast<int64_t>(weights) &&
                           (copy.dtype == DType::kBF16 || copy.dtype == DType::kF16)),
                 "a copy of ", copy.size, " ", name_of(copy.dtype), " of ", weights, " weights");
}

inline void check(const SgdStep& a) {
  PASSNORM_CHECK(a.g.size() == a.w.size(), a.g.size(), " gradients of ", a.w.size(), " weights");
  PASSNORM_CHECK(
      a.momentum_buffer.size() == a.w.size() || (a.momentum_buffer.empty() && a.momentum == 0),
      "momentum ", a.momentum, " with a buffer of ", a.momentum_buffer.size(), " for ", a.w.size(),
      " weights");
  check_copy(a.w_copy, a.w.size());
}

inline void check(const AdamStep& a) {
  PASSNORM_CHECK(a.g.size() == a.w.size() && a.m.size() == a.w.size() && a.v.size() == a.w.size(),
                 a.w.size(), " weights, ", a.g.size(), " gradients, ", a.m.size(), " and ",
                 a.v.size(), " moments");
  PASSNORM_CHECK(a.step.at != nullptr || a.step.value >= 1, "step ", a.step.value);
  check_copy(a.w_copy, a.w.size());
}

inline void check(const Restore& a) {
  PASSNORM_CHECK(a.kept.size() == a.y.size(), a.kept.size(), " values for ", a.y.size());
}

PASSNORM_HOST_DEVICE inline bool is_finite(float x) {
  return fabsf(x) <= std::numeric_limits<float>::max();
}

/// What UpdateCheck says of the state, from the gradient's norm (without the loss scale).
PASSNORM_HOST_DEVICE inline void decide_update(UpdateState& s, float norm, bool losses_finite,
                                               float clip_norm, int32_t growth_interval) {
  s.gradient_norm = norm;
  s.apply = losses_finite && is_finite(norm) ? 1 : 0;
  s.g_scale = (clip_norm > 0 && norm > clip_norm ? clip_norm / norm : 1.0f) / s.loss_scale;
  s.updates += s.apply;
  if (growth_interval == 0) return;
  if (s.apply == 0) {
    s.good_steps = 0;
    s.loss_scale = fmaxf(s.loss_scale / 2, 1.0f);
  } else if (++s.good_steps >= growth_interval) {
    s.good_steps = 0;
    s.loss_scale = fminf(s.loss_scale * 2, 0x1p24f);
  }
}

}  // namespace passnorm::kernels
