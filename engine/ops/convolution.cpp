#include "kernels/convolution.hpp"

#include "engine/ops/ops.hpp"
#include "kernels/elementwise.hpp"

namespace passnorm::ops {

Var convolution(Tape& tape, const Var& x, const Var& w, const Var& bias, int64_t stride,
                int64_t pad, bool relu) {
  const Shape &xs = x.shape(), &ws = w.shape();
  PASSNORM_CHECK(xs.rank() == 4 && ws.rank() == 4 && xs[3] == ws[3], "x ", xs, ", w ", ws);
  const kernels::ConvGeometry g{.n = xs[0],
                                .h = xs[1],
                                .w = xs[2],
                                .c = xs[3],
                                .o = ws[0],
                                .kh = ws[1],
                                .kw = ws[2],
                                .stride = stride,
                                .pad = pad};
  Stream& stream = tape.stream();
  const DType storage = x.value.dtype();
  if (!dispatch(stream, [&](auto& s) { return kernels::convolves(s, storage); }))
    return cast(tape, convolution(tape, cast(tape, x, DType::kF32), w, bias, stride, pad, relu),
                storage);
  const Var y =
      tape.result(Tensor::empty(stream, {g.n, g.oh(), g.ow(), g.o}, storage), x.lanes, x, w, bias);
  const Tensor w_copy = w.copy && w.copy.dtype() == storage ? w.copy : Tensor();
  dispatch(stream, [&](auto& s) {
    kernels::conv_forward(s, {.geometry = g,
                              .x = x.value.view(),
                              .w = w.value.view(),
                              .w_copy = w_copy.view(),
                              .bias = bias.value.view(),
                              .y = y.value.view(),
                              .relu = relu});
  });
  tape.record(y, [&stream, g, x, w, w_copy, bias,
                  mask = relu ? y.value : Tensor()](const Tensor& dresult) {
    dispatch(stream, [&](auto& s) {
      const Tensor dy =
          mask ? Tensor::empty(stream, mask.shape(), dresult.dtype()) : dresult;  // of the sum
      if (mask)
        kernels::relu_backward(s, {.y = mask.view(), .dy = dresult.view(), .dx = dy.view()});
      if (w.gradient || bias.gradient) {
        const GradientSink db = bias.gradient ? bias.sink(stream) : GradientSink{};
        // The kernel computes both; a frozen weight's gradient goes nowhere.
        const GradientSink dw =
            w.gradient
                ? w.sink(stream)
                : GradientSink{Tensor::empty(stream, w.shape(), w.value.dtype()), db.accumulate};
        PASSNORM_CHECK(!bias.gradient || dw.accumulate == db.accumulate,
                       "weight and bias are used together");
        kernels::conv_backward_weight(s, {.geometry = g,
                                          .x = x.value.view(),
                                          .dy = dy.view(),
                                          .dw = dw.value.view(),
                                          .dbias = db.value.view(),
                                          .accumulate = dw.accumulate});
      }
      if (!x.gradient) return;
      const GradientSink dx = x.sink(stream);
      const Tensor to =
          dx.accumulate ? Tensor::empty(stream, x.shape(), dx.value.dtype()) : dx.value;
      kernels::conv_backward_data(s, {.geometry = g,
                                      .dy = dy.view(),
                                      .w = w.value.view(),
                                      .w_copy = w_copy.view(),
                                      .dx = to.view()});
      if (dx.accumulate) kernels::add_to(s, {.x = to.view(), .y = dx.value.view()});
    });
  });
  return y;
}

// A linear layer is a convolution of one position, which brings the bias and its gradient with it.
Var linear(Tape& tape, const Var& x, const Var& w, const Var& bias) {
  PASSNORM_CHECK(x.shape().rank() == 2 && w.shape().rank() == 2, "x ", x.shape(), ", w ",
                 w.shape());
  const auto as_image = [](const Var& v) { return v.reshape({v.shape()[0], 1, 1, v.shape()[1]}); };
  return convolution(tape, as_image(cast(tape, x, DType::kF32)), as_image(w), bias, 1, 0)
      .reshape({x.shape()[0], w.shape()[0]});
}

}  // namespace passnorm::ops
