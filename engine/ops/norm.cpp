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

/// value: without one only the gradient is of interest.
Var result(Tape& tape, Tensor value, const Var& x, const Var& residual,
           const std::vector<NormLane>& lanes, const NormOptions& o) {
  return tape.result(std::move(value), lanes_of_result(x, lanes, o), x, residual,
                     lanes.front().scale, lanes.front().shift, lanes.back().scale,
                     lanes.back().shift);
}

/// Where the gradients of the lanes' scales and shifts go. The kernel adds to all of them or to
/// none: where one has been written before, those that have not start at 0.
void set_affine_sinks(Stream& stream, const std::vector<NormLane>& lanes,
                      kernels::NormBackward& b) {
  std::vector<Tensor> unwritten;
  const auto sink = [&](const Var& parameter) -> std::span<float> {
    if (!parameter.gradient) return {};
    const GradientSink to = parameter.sink(stream);
    if (to.accumulate)
      b.accumulate_affine = true;
    else
      unwritten.push_back(to.value);
    return to.value.span();
  };
  for (size_t l = 0; l < lanes.size(); ++l) {
    b.dscale[l] = sink(lanes[l].scale);
    b.dshift[l] = sink(lanes[l].shift);
  }
  if (!b.accumulate_affine) return;
  for (const Tensor& t : unwritten)
    dispatch(stream, [&](auto& s) { kernels::fill(s, {.y = t.view()}); });
}

/// Gradients of one norm's input and affine from dy, that of its result; what concerns a residual
/// is the caller's.
kernels::NormBackward backward_of(Stream& stream, const Var& x, const std::vector<NormLane>& lanes,
                                  const NormOptions& o, ConstView dy) {
  kernels::NormBackward b{.geometry = o.geometry,
                          .lanes = static_cast<int>(lanes.size()),
                          .fork = o.fork,
                          .activation = o.activation,
                          .fixed_statistics = o.fixed_statistics,
                          .x = x.value.view(),
                          .dy = dy,
                          .lane = kernel_lanes(lanes)};
  set_affine_sinks(stream, lanes, b);
  if (x.gradient) {
    const GradientSink to = x.sink(stream);
    b.dx = to.value.view();
    b.accumulate_dx = to.accumulate;
  }
  return b;
}

void run(Stream& stream, const kernels::NormBackward& b) {
  dispatch(stream, [&](auto& s) { kernels::norm_backward(s, b); });
}

}  // namespace

void measure(Stream& stream, const std::optional<NormMeasurement>& measurement) {
  if (!measurement) return;
  dispatch(stream, [&](auto& s) {
    kernels::norm_statistics(s, measurement->statistics);
    for (const kernels::NormUpdateRunning& running : measurement->running)
      if (running.channels > 0) kernels::norm_update_running(s, running);
  });
}

Var norm(Tape& tape, const Var& x, const Residual& residual, const std::vector<NormLane>& lanes,
         const NormOptions& o, const std::optional<NormMeasurement>& measurement) {
  const Var& r = residual.x;
  const bool normalised = !residual.lanes.empty();  // the residual, as it is read
  if (normalised) {
    const kernels::NormGeometry &g = o.geometry, &of = residual.options.geometry;
    PASSNORM_CHECK(residual.options.activation == NormActivation::kIdentity && of.rows == g.rows &&
                       of.channels == g.channels && of.groups == g.groups,
                   "a residual whose norm is of another kind");
  }
  const Lanes out_lanes = lanes_of_result(x, lanes, o);
  const Lanes r_lanes = normalised ? lanes_of_result(r, residual.lanes, residual.options) : r.lanes;
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
    return add(tape, norm(tape, x, {}, lanes, alone, measurement),
               normalised ? norm(tape, r, {}, residual.lanes, residual.options) : r,
               o.activation == NormActivation::kRelu);
  }

  Stream& stream = tape.stream();
  // What is added; of a norm applied as it is read there is never a value.
  const Var added = normalised ? result(tape, {}, r, {}, residual.lanes, residual.options) : r;
  const Var y = result(tape, Tensor::empty(stream, rows_of_lanes(x.shape(), o), x.value.dtype()), x,
                       added, lanes, o);
  const kernels::NormApply apply{.geometry = o.geometry,
                                 .lanes = static_cast<int>(lanes.size()),
                                 .fork = o.fork,
                                 .activation = o.activation,
                                 .x = x.value.view(),
                                 .residual = r.value.view(),
                                 .residual_lane = kernel_lanes(residual.lanes),
                                 .lane = kernel_lanes(lanes),
                                 .y = y.value.view()};
  dispatch(stream, [&](auto& s) {
    if (measurement)
      kernels::norm_forward(
          s,
          {.statistics = measurement->statistics, .running = measurement->running, .apply = apply});
    else
      kernels::norm_apply(s, apply);
  });

  // Without a residual the sign of the ReLU is recomputed from x, and y need not be kept for it.
  const Tensor kept_y = r.value && o.activation == NormActivation::kRelu ? y.value : Tensor();
  tape.record(y, [&stream, o, lanes, x, residual, added, normalised, kept_y](const Tensor& dy) {
    kernels::NormBackward b = backward_of(stream, x, lanes, o, dy.view());
    b.y = kept_y.view();
    b.has_residual = static_cast<bool>(residual.x.value);
    Tensor dadded;
    if (normalised && added.gradient) {
      dadded =
          Tensor::empty(stream, rows_of_lanes(residual.x.shape(), residual.options), dy.dtype());
      b.dresidual = dadded.view();
    } else if (added.gradient) {
      const GradientSink to = added.sink(stream);
      b.dresidual = to.value.view();
      b.accumulate_dresidual = to.accumulate;
    }
    run(stream, b);
    if (dadded)
      run(stream, backward_of(stream, residual.x, residual.lanes, residual.options, dadded.view()));
  });
  return y;
}

Var norm_pool(Tape& tape, const Var& x, const std::vector<NormLane>& lanes, const NormOptions& o,
              const PoolWindow& window) {
  const kernels::PoolGeometry g = window.over(x.shape());
  Stream& stream = tape.stream();
  const Shape pooled = rows_of_lanes({g.n, g.oh(), g.ow(), g.c}, o);
  const Var y = result(tape, Tensor::empty(stream, pooled, x.value.dtype()), x, {}, lanes, o);
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
    run(stream, backward_of(stream, x, lanes, o, d.view()));
  });
  return y;
}

}  // namespace passnorm::ops
