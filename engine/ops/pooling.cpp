#include "kernels/pooling.hpp"

#include "engine/ops/ops.hpp"

namespace passnorm::ops {

kernels::PoolGeometry PoolWindow::over(const Shape& x) const {
  PASSNORM_CHECK(x.rank() == 4, "x ", x);
  return {.n = x[0], .h = x[1], .w = x[2], .c = x[3], .size = size, .stride = stride, .pad = pad};
}

Var max_pool(Tape& tape, const Var& x, const PoolWindow& window) {
  const kernels::PoolGeometry g = window.over(x.shape());
  Stream& stream = tape.stream();
  const Var y =
      tape.result(Tensor::empty(stream, {g.n, g.oh(), g.ow(), g.c}, x.value.dtype()), x.lanes, x);
  const Tensor argmax = Tensor::empty(stream, y.shape(), DType::kU8);
  dispatch(stream, [&](auto& s) {
    kernels::max_pool_forward(s, {.geometry = g,
                                  .x = x.value.view(),
                                  .y = y.value.view(),
                                  .argmax = argmax.span<uint8_t>()});
  });
  tape.record(y, [&stream, g, x, argmax](const Tensor& dy) {
    const GradientSink dx = x.sink(stream);
    dispatch(stream, [&](auto& s) {
      kernels::max_pool_backward(s, {.geometry = g,
                                     .dy = dy.view(),
                                     .argmax = argmax.span<uint8_t>(),
                                     .dx = dx.value.view(),
                                     .accumulate = dx.accumulate});
    });
  });
  return y;
}

namespace {

Var global_pool(Tape& tape, const Var& x, bool maximum) {
  const Shape& xs = x.shape();
  PASSNORM_CHECK(xs.rank() == 4, "x ", xs);
  const int64_t n = xs[0], positions = xs[1] * xs[2], c = xs[3];
  Stream& stream = tape.stream();
  const Var y = tape.result(Tensor::empty(stream, {n, c}, x.value.dtype()), x.lanes, x);
  const Tensor argmax = maximum ? Tensor::empty(stream, {n, c}, DType::kI32) : Tensor();
  const auto argmax_span = [maximum](const Tensor& t) {
    return maximum ? t.span<int32_t>() : std::span<int32_t>();
  };
  dispatch(stream, [&](auto& s) {
    const kernels::GlobalPoolForward a{.n = n,
                                       .s = positions,
                                       .c = c,
                                       .x = x.value.view(),
                                       .y = y.value.view(),
                                       .argmax = argmax_span(argmax)};
    maximum ? kernels::global_max_forward(s, a) : kernels::global_mean_forward(s, a);
  });
  tape.record(y, [=, &stream](const Tensor& dy) {
    const GradientSink dx = x.sink(stream);
    dispatch(stream, [&](auto& s) {
      const kernels::GlobalPoolBackward a{.n = n,
                                          .s = positions,
                                          .c = c,
                                          .dy = dy.view(),
                                          .argmax = argmax_span(argmax),
                                          .dx = dx.value.view(),
                                          .accumulate = dx.accumulate};
      maximum ? kernels::global_max_backward(s, a) : kernels::global_mean_backward(s, a);
    });
  });
  return y;
}

}  // namespace

Var global_mean_pool(Tape& tape, const Var& x) { return global_pool(tape, x, false); }
Var global_max_pool(Tape& tape, const Var& x) { return global_pool(tape, x, true); }

}  // namespace passnorm::ops
