#include "kernels/norm.hpp"

#include <algorithm>

#include "engine/ops/ops.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/norm_pool.hpp"

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

std::array<kernels::NormLane, 2> kernel_lanes(const std::vector<NormLane>& lanes) {
  std::array<kernels::NormLane, 2> out;
  std::ranges::transform(lanes, out.begin(), kernel_lane);
  return out;
}

Lanes lanes_of_result(const Var& x, const std::vector<NormLane>& lanes, const NormOptions& o) {
  PASSNORM_CHECK(lanes.size() == 1 || lanes.size() == 2, lanes.size(), " lanes");
  PASSNORM_CHECK(!o.fork || (lanes.size() == 2 && x.lanes.is_shared()),
                 "a fork starts from shared lanes");
  return o.fork ? Lanes::split() : x.lanes;
}

Shape rows_of_lanes(const Shape& shape, const NormOptions& o) {
  return o.fork ? shape.with_rows(2 * shape[0]) : shape;
}

/// Undefined elements. shape: of one part of a fork.
Var result(Tape& tape, const Shape& shape, const Var& x, const Var& residual,
           const std::vector<NormLane>& lanes, const NormOptions& o) {
  const Lanes out = lanes_of_result(x, lanes, o);
  Tensor value = Tensor::empty(tape.stream(), rows_of_lanes(shape, o), x.value.dtype());
  return lanes.size() == 1
             ? tape.result(std::move(value), out, x, residual, lanes[0].scale, lanes[0].shift)
             : tape.result(std::move(value), out, x, residual, lanes[0].scale, lanes[0].shift,
                           lanes[1].scale, lanes[1].shift);
}

/// Memory for a [C] gradient that the kernel adds to.
std::span<float> affine_sink(Stream& stream, const Var& parameter) {
  if (!parameter.gradient) return {};
  const GradientSink to = parameter.sink(stream);
  if (!to.accumulate) dispatch(stream, [&](auto& s) { kernels::fill(s, {.y = to.value.view()}); });
  return to.value.span();
}

/// The gradients of norm's inputs from dy, that of its result. y: the result where the kernel needs
/// it, else empty.
void differentiate(Stream& stream, const Var& x, const Var& residual,
                   const std::vector<NormLane>& lanes, const NormOptions& o, const Tensor& y,
                   const Tensor& dy) {
  kernels::NormBackward b{.geometry = o.geometry,
                          .lanes = static_cast<int>(lanes.size()),
                          .fork = o.fork,
                          .activation = o.activation,
                          .fixed_statistics = o.fixed_statistics,
                          .x = x.value.view(),
                          .y = y.view(),
                          .has_residual = static_cast<bool>(residual.value),
                          .dy = dy.view(),
                          .lane = kernel_lanes(lanes),
                          .accumulate_affine = true};
  for (size_t l = 0; l < lanes.size(); ++l) {
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
}

}  // namespace

Var norm(Tape& tape, const Var& x, const Var& residual, const std::vector<NormLane>& lanes,
         const NormOptions& o) {
  const Lanes out_lanes = lanes_of_result(x, lanes, o);
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
  const Var y = result(tape, x.shape(), x, residual, lanes, o);
  dispatch(stream, [&](auto& s) {
    kernels::norm_apply(s, {.geometry = o.geometry,
                            .lanes = static_cast<int>(lanes.size()),
                            .fork = o.fork,
                            .activation = o.activation,
                            .x = x.value.view(),
                            .residual = residual.value.view(),
                            .lane = kernel_lanes(lanes),
                            .y = y.value.view()});
  });

  // Without a residual the sign of the ReLU is recomputed from x, and y need not be kept for it.
  const Tensor kept_y =
      residual.value && o.activation == NormActivation::kRelu ? y.value : Tensor();
  tape.record(y, [&stream, o, lanes, x, residual, kept_y](const Tensor& dy) {
    differentiate(stream, x, residual, lanes, o, kept_y, dy);
  });
  return y;
}

Var norm_pool(Tape& tape, const Var& x, const std::vector<NormLane>& lanes, const NormOptions& o,
              const PoolWindow& window) {
  const kernels::PoolGeometry g = window.over(x.shape());
  Stream& stream = tape.stream();
  const Var y = result(tape, {g.n, g.oh(), g.ow(), g.c}, x, {}, lanes, o);
  const Tensor argmax = Tensor::empty(stream, y.shape(), DType::kU8);
  dispatch(stream, [&](auto& s) {
    kernels::norm_pool_forward(s, {.norm = o.geometry,
                                   .pool = g,
                                   .lanes = static_cast<int>(lanes.size()),
                                   .fork = o.fork,
                                   .activation = o.activation,
                                   .x = x.value.view(),
                                   .lane = kernel_lanes(lanes),
                                   .y = y.value.view(),
                                   .argmax = argmax.span<uint8_t>()});
  });
  tape.record(y, [&stream, window, o, lanes, x, argmax](const Tensor& dy) {
    const Shape between = rows_of_lanes(x.shape(), o);
    const Tensor d = Tensor::empty(stream, between, x.value.dtype());
    dispatch(stream, [&](auto& s) {
      kernels::max_pool_backward(s, {.geometry = window.over(between),
                                     .dy = dy.view(),
                                     .argmax = argmax.span<uint8_t>(),
                                     .dx = d.view()});
    });
    differentiate(stream, x, {}, lanes, o, {}, d);
  });
  return y;
}

}  // namespace passnorm::ops
