#include "kernels/norm.hpp"

#include "engine/ops/ops.hpp"
#include "kernels/elementwise.hpp"

namespace passnorm::ops {
namespace {

using kernels::NormActivation;

kernels::NormLane kernel_lane(const NormLane& lane) {
  kernels::NormLane k{
      .mean = lane.mean.span(),
      .rstd = lane.rstd.span(),
  };
  if (lane.scale.value) k.scale = lane.scale.value.span();
  if (lane.shift.value) k.shift = lane.shift.value.span();
  return k;
}

/// Memory for a [C] gradient that the kernel adds to.
std::span<float> affine_sink(Stream& stream, const Var& parameter) {
  if (!parameter.gradient) return {};
  const GradientSink to = parameter.sink(stream);
  if (!to.accumulate) dispatch(stream, [&](auto& s) { kernels::fill(s, {.y = to.value.view()}); });
  return to.value.span();
}

}  // namespace

Var norm(Tape& tape, const Var& x, const Var& residual, const std::vector<NormLane>& lanes,
         const NormOptions& o) {
  PASSNORM_CHECK(lanes.size() == 1 || lanes.size() == 2, lanes.size(), " lanes");
  PASSNORM_CHECK(!o.fork || (lanes.size() == 2 && x.lanes.is_shared()),
                 "a fork starts from shared lanes");
  const Lanes out_lanes = o.fork ? Lanes::split() : x.lanes;
  PASSNORM_CHECK(!residual.value || residual.lanes == out_lanes ||
                     (residual.lanes.is_both() && out_lanes.is_both()),
                 "a residual of other lanes");
  const bool only_residual_splits = residual.lanes.is_split() && !out_lanes.is_split();
  const bool residual_is_x = x.gradient && residual.gradient == x.gradient;
  if (residual.value && (only_residual_splits || residual_is_x)) {
    // One normalised operand meets both lanes of the residual, or the kernel would write two
    // contributions to one gradient.
    const bool relu_first = o.activation == NormActivation::kReluThenAdd;
    NormOptions alone = o;
    alone.activation = relu_first ? NormActivation::kRelu : NormActivation::kIdentity;
    return add(tape, norm(tape, x, {}, lanes, alone), residual,
               o.activation == NormActivation::kRelu);
  }

  Stream& stream = tape.stream();
  const Shape ys = o.fork ? x.shape().with_rows(2 * x.shape()[0]) : x.shape();
  Tensor value = Tensor::empty(stream, ys, x.value.dtype());
  const Var y =
      lanes.size() == 1
          ? tape.result(std::move(value), out_lanes, x, residual, lanes[0].scale, lanes[0].shift)
          : tape.result(std::move(value), out_lanes, x, residual, lanes[0].scale, lanes[0].shift,
                        lanes[1].scale, lanes[1].shift);
  kernels::NormApply a{.geometry = o.geometry,
                       .lanes = static_cast<int>(lanes.size()),
                       .fork = o.fork,
                       .activation = o.activation,
                       .x = x.value.view(),
                       .residual = residual.value.view(),
                       .y = y.value.view()};
  for (size_t l = 0; l < lanes.size(); ++l) a.lane[l] = kernel_lane(lanes[l]);
  dispatch(stream, [&](auto& s) { kernels::norm_apply(s, a); });

  // Without a residual the sign of the ReLU is recomputed from x, and y need not be kept for it.
  const Tensor kept_y =
      residual.value && o.activation == NormActivation::kRelu ? y.value : Tensor();
  tape.record(y, [&stream, o, lanes, x, residual, kept_y](const Tensor& dy) {
    kernels::NormBackward b{.geometry = o.geometry,
                            .lanes = static_cast<int>(lanes.size()),
                            .fork = o.fork,
                            .activation = o.activation,
                            .fixed_statistics = o.fixed_statistics,
                            .x = x.value.view(),
                            .y = kept_y.view(),
                            .has_residual = static_cast<bool>(residual.value),
                            .dy = dy.view(),
                            .accumulate_affine = true};
    for (size_t l = 0; l < lanes.size(); ++l) {
      b.lane[l] = kernel_lane(lanes[l]);
      b.dscale[l] = affine_sink(stream, lanes[l].scale);
      b.dshift[l] = affine_sink(stream, lanes[l].shift);
    }
    if (x.gradient) {
      const GradientSink to = x.sink(stream);
      b.dx = to.value.view();
      b.accumulate_dx = to.accumulate;
    }
    if (residual.gradient) {
      const GradientSink to = residual.sink(stream);
      b.dresidual = to.value.view();
      b.accumulate_dresidual = to.accumulate;
    }
    dispatch(stream, [&](auto& s) { kernels::norm_backward(s, b); });
  });
  return y;
}

}  // namespace passnorm::ops
