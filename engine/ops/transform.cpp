// PointNet's learned transforms of points and features: applied, started at the identity, kept near
// orthogonal ones.
#include <cmath>

#include "engine/ops/ops.hpp"
#include "kernels/batched_matmul.hpp"
#include "kernels/elementwise.hpp"

namespace passnorm::ops {
namespace {

/// J of t [N, J * J] or [N, J, J].
int64_t size_of_squares(const Var& t) {
  const Shape& s = t.shape();
  PASSNORM_CHECK(s.rank() >= 2 && s[0] > 0, "t ", s);
  const auto size = std::llround(std::sqrt(static_cast<double>(t.value.size() / s[0])));
  PASSNORM_CHECK(s[0] * size * size == t.value.size(), "t ", s, " of no square matrices");
  return size;
}

}  // namespace

Var batched_matmul(Tape& tape, const Var& x, const Var& transforms) {
  const Var t = cast(tape, transforms, DType::kF32);
  const bool split = x.lanes.is_split() || t.lanes.is_split();
  PASSNORM_CHECK(x.lanes == t.lanes || (split && x.lanes.is_both() && t.lanes.is_both()),
                 "operands of different lanes");
  const Shape &xs = x.shape(), &ts = t.shape();
  PASSNORM_CHECK(xs.rank() == 4 && ts.rank() >= 2 && xs[3] > 0, "x ", xs, ", t ", ts);
  const Var& whole = t.lanes.is_split() ? t : x;
  const kernels::BatchedMatmulGeometry g{.batches = whole.shape()[0],
                                         .l = xs[1] * xs[2],
                                         .i = xs[3],
                                         .j = t.value.size() / (ts[0] * xs[3])};
  Stream& stream = tape.stream();
  const Var y = tape.result(Tensor::empty(stream, {g.batches, xs[1], xs[2], g.j}, x.value.dtype()),
                            whole.lanes, x, t);
  dispatch(stream, [&](auto& s) {
    kernels::batched_matmul(
        s, {.geometry = g, .x = x.value.view(), .t = t.value.span(), .y = y.value.view()});
  });
  tape.record(y, [&stream, g, x, t](const Tensor& dy) {
    kernels::BatchedMatmulBackward b{
        .geometry = g, .x = x.value.view(), .t = t.value.span(), .dy = dy.view()};
    if (x.gradient) {
      const GradientSink dx = x.sink(stream);
      b.dx = dx.value.view();
      b.accumulate_dx = dx.accumulate;
    }
    if (t.gradient) {
      const GradientSink dt = t.sink(stream);
      b.dt = dt.value.span();
      b.accumulate_dt = dt.accumulate;
    }
    dispatch(stream, [&](auto& s) { kernels::batched_matmul_backward(s, b); });
  });
  return y;
}

Var add_identity(Tape& tape, const Var& x) {
  Stream& stream = tape.stream();
  const Tensor y = Tensor::empty(stream, x.shape(), x.value.dtype());
  dispatch(stream, [&](auto& s) {
    kernels::add_identity(s, {.size = size_of_squares(x), .x = x.value.view(), .y = y.view()});
  });
  return {y, x.lanes, x.gradient};  // the gradient of a sum with a constant is the sum's own
}

Tensor orthogonality_loss(Tape& tape, const Var& t, const OrthogonalityOptions& o,
                          const Tensor& to) {
  const int64_t lanes = t.lanes.parts();
  Stream& stream = tape.stream();
  const Tensor result = to ? to : Tensor::empty(stream, {lanes});
  GradientSink dt;
  if (tape.differentiates(t)) dt = t.sink(stream);
  dispatch(stream, [&](auto& s) {
    kernels::orthogonality_loss(s, {.lanes = lanes,
                                    .rows = t.shape()[0] / lanes,
                                    .size = size_of_squares(t),
                                    .t = t.value.span(),
                                    .form = o.form,
                                    .alpha = o.alpha,
                                    .weight = t.lanes.is_shared() ? 2.0f : 1.0f,
                                    .loss_scale = tape.loss_scale(),
                                    .loss = result.span(),
                                    .dt = dt.value.span(),
                                    .accumulate = dt.accumulate});
  });
  return result;
}

}  // namespace passnorm::ops
