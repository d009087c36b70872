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

Lanes result_lanes(const Var& x, const NormOptions& o) { return o.fork ? Lanes::split() : x.lanes; }
Shape result_shape(const Var& x, const NormOptions& o) {
  return o.fork ? x.shape().with_rows(2 * x.shape()[0]) : x.shape();
}

void check_fork(const Var& x, const std::vector<NormLane>& lanes, const NormOptions& o) {
  PASSNORM_CHECK(lanes.size() == 1 || lanes.size() == 2, lanes.size(), " lanes");
  PASSNORM_CHECK(!o.fork || (lanes.size() == 2 && x.lanes.is_shared()),
                 "a fork starts from shared lanes");
}

/// Gradients of one norm's input and affine; what concerns a residual is the caller's.
kernels::NormBackward backward_of(Stream& stream, const Var& x, const std::vector<NormLane>& lanes,
                                  const NormOptions& o, ConstView dy) {
  kernels::NormBackward b{.geometry = o.geometry,
                          .lanes = static_cast<int>(lanes.size()),
                          .fork = o.fork,
                          .activation = o.activation,
                          .fixed_statistics = o.fixed_statistics,
                          .x = x.value.view(),
                          .dy = dy,
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
  return b;
}

}  // namespace

Var norm(Tape& tape, const Var& x, const Residual& residual, const std::vector<NormLane>& lanes,
         const NormOptions& o) {
  check_fork(x, lanes, o);
  const Var& r = residual.x;
  const bool normalised = !residual.lanes.empty();  // the residual, as it is read
  if (normalised) {
    check_fork(r, residual.lanes, residual.options);
    const kernels::NormGeometry &g = o.geometry, &of = residual.options.geometry;
    PASSNORM_CHECK(residual.options.activation == NormActivation::kIdentity && of.rows == g.rows &&
                       of.channels == g.channels && of.groups == g.groups,
                   "a residual whose norm is of another kind");
  }
  const Lanes out_lanes = result_lanes(x, o), r_lanes = result_lanes(r, residual.options);
  PASSNORM_CHECK(!r.value || r_lanes == out_lanes || (r_lanes.is_both() && out_lanes.is_both()),
                 "a residual of other lanes");
  const bool only_residual_splits = r_lanes.is_split() && !out_lanes.is_split();
  const bool residual_is_x = x.gradient && r.gradient == x.gradient;
  if (r.value && (only_residual_splits || residual_is_x)) {
    // One normalised operand meets both lanes of the residual, or the kernel would write two
    // contributions to one gradient.
    const bool relu_first = o.activation == NormActivation::kReluThenAdd;
    NormOptions alone = o;
    alone.activation = relu_first ? NormActivation::kRelu : NormActivation::kIdentity;
    return add(tape, norm(tape, x, {}, lanes, alone),
               normalised ? norm(tape, r, {}, residual.lanes, residual.options) : r,
               o.activation == NormActivation::kRelu);
  }

  Stream& stream = tape.stream();
  const auto result = [&](Tensor value, Lanes of, const Var& input, const Var& added,
                          const std::vector<NormLane>& by) {
    return tape.result(std::move(value), of, input, added, by.front().scale, by.front().shift,
                       by.back().scale, by.back().shift);
  };
  // What is added; of a norm applied as it is read there is never a value.
  const Var added = normalised ? result({}, r_lanes, r, {}, residual.lanes) : r;
  const Var y = result(Tensor::empty(stream, result_shape(x, o), x.value.dtype()), out_lanes, x,
                       added, lanes);
  kernels::NormApply a{.geometry = o.geometry,
                       .lanes = static_cast<int>(lanes.size()),
                       .fork = o.fork,
                       .activation = o.activation,
                       .x = x.value.view(),
                       .residual = r.value.view(),
                       .y = y.value.view()};
  for (size_t l = 0; l < lanes.size(); ++l) a.lane[l] = kernel_lane(lanes[l]);
  for (size_t l = 0; l < residual.lanes.size(); ++l)
    a.residual_lane[l] = kernel_lane(residual.lanes[l]);
  dispatch(stream, [&](auto& s) { kernels::norm_apply(s, a); });

  // Without a residual the sign of the ReLU is recomputed from x, and y need not be kept for it.
  const Tensor kept_y = r.value && o.activation == NormActivation::kRelu ? y.value : Tensor();
  tape.record(y, [&stream, o, lanes, x, residual, added, normalised, kept_y](const Tensor& dy) {
    kernels::NormBackward b = backward_of(stream, x, lanes, o, dy.view());
    b.y = kept_y.view();
    b.has_residual = static_cast<bool>(residual.x.value);
    Tensor dadded;
    if (normalised && added.gradient) {
      dadded = Tensor::empty(stream, result_shape(residual.x, residual.options), dy.dtype());
      b.dresidual = dadded.view();
    } else if (added.gradient) {
      const GradientSink to = added.sink(stream);
      b.dresidual = to.value.view();
      b.accumulate_dresidual = to.accumulate;
    }
    dispatch(stream, [&](auto& s) { kernels::norm_backward(s, b); });
    if (!dadded) return;
    const kernels::NormBackward of_residual =
        backward_of(stream, residual.x, residual.lanes, residual.options, dadded.view());
    dispatch(stream, [&](auto& s) { kernels::norm_backward(s, of_residual); });
  });
  return y;
}

}  // namespace passnorm::ops
