#include "kernels/convolution.hpp"

#include "engine/ops/ops.hpp"
#include "kernels/elementwise.hpp"

namespace passnorm::ops {
namespace {

bool convolves(Stream& stream, DType storage) {
  return dispatch(stream, [&](auto& s) { return kernels::convolves(s, storage); });
}

/// The copy that w has in this type, or nothing.
Tensor copy_in(DType storage, const Var& w) {
  return w.copy && w.copy.dtype() == storage ? w.copy : Tensor();
}

/// Does the layer's work, and names the layer in what the machine cannot do of it.
template <class F>
void in_layer(Stream& stream, const std::string& layer, F&& work) {
  std::vector<std::string>& notes = stream.notes();
  const size_t before = notes.size();
  try {
    work();
  } catch (const Error& e) {
    if (e.fault() != Fault::kMachine || layer.empty()) throw;
    fail(e.fault(), layer, ": ", e.what());
  }
  if (layer.empty()) return;
  for (size_t i = before; i < notes.size(); ++i) notes[i] = concat(layer, ": ", notes[i]);
}

/// The gradients of what conv(x, w) + bias is made of, from its own.
void differentiate(Stream& stream, const kernels::ConvGeometry& g, const Var& x, const Var& w,
                   const Tensor& w_copy, const Var& bias, const Tensor& dy) {
  dispatch(stream, [&](auto& s) {
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
    const Tensor to = dx.accumulate ? Tensor::empty(stream, x.shape(), dx.value.dtype()) : dx.value;
    kernels::conv_backward_data(s, {.geometry = g,
                                    .dy = dy.view(),
                                    .w = w.value.view(),
                                    .w_copy = w_copy.view(),
                                    .dx = to.view()});
    if (dx.accumulate) kernels::add_to(s, {.x = to.view(), .y = dx.value.view()});
  });
}

}  // namespace

Var convolution(Tape& tape, const Var& x, const Var& w, const Var& bias, int64_t stride,
                int64_t pad, bool relu, Tensor* sums, const std::string& layer) {
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
  if (!convolves(stream, storage))
    return cast(
        tape,
        convolution(tape, cast(tape, x, DType::kF32), w, bias, stride, pad, relu, sums, layer),
        storage);
  const Var y =
      tape.result(Tensor::empty(stream, {g.n, g.oh(), g.ow(), g.o}, storage), x.lanes, x, w, bias);
  const Tensor w_copy = copy_in(storage, w);
  const Tensor summed = sums != nullptr ? Tensor::empty(stream, {2, g.o}) : Tensor();
  bool has_sums = false;
  in_layer(stream, layer, [&] {
    has_sums = dispatch(stream, [&](auto& s) {
      return kernels::conv_forward(s, {.geometry = g,
                                       .x = x.value.view(),
                                       .w = w.value.view(),
                                       .w_copy = w_copy.view(),
                                       .bias = bias.value.view(),
                                       .y = y.value.view(),
                                       .relu = relu,
                                       .sums = summed ? summed.span() : std::span<float>()});
    });
  });
  if (has_sums) *sums = summed;
  tape.record(y, [&stream, g, x, w, w_copy, bias, mask = relu ? y.value : Tensor(),
                  layer](const Tensor& dresult) {
    const Tensor dy =
        mask ? Tensor::empty(stream, mask.shape(), dresult.dtype()) : dresult;  // of the sum
    if (mask)
      dispatch(stream, [&](auto& s) {
        kernels::relu_backward(s, {.y = mask.view(), .dy = dresult.view(), .dx = dy.view()});
      });
    in_layer(stream, layer, [&] { differentiate(stream, g, x, w, w_copy, bias, dy); });
  });
  return y;
}

// A linear layer is a convolution of one position, which brings the bias and its gradient with it.
Var linear(Tape& tape, const Var& x, const Var& w, const Var& bias, const std::string& layer) {
  const Shape &xs = x.shape(), &ws = w.shape();
  PASSNORM_CHECK(xs.rank() == 2 && ws.rank() == 2 && xs[1] == ws[1], "x ", xs, ", w ", ws);
  Stream& stream = tape.stream();
  const DType storage = x.value.dtype();
  if (!convolves(stream, storage)) return linear(tape, cast(tape, x, DType::kF32), w, bias, layer);
  const kernels::ConvGeometry g{.n = xs[0], .c = xs[1], .o = ws[0]};
  const Var y = tape.result(Tensor::empty(stream, {g.n, g.o}), x.lanes, x, w, bias);
  const Tensor w_copy = copy_in(storage, w);
  in_layer(stream, layer, [&] {
    dispatch(stream, [&](auto& s) {
      kernels::conv_forward(s, {.geometry = g,
                                .x = x.value.view(),
                                .w = w.value.view(),
                                .w_copy = w_copy.view(),
                                .bias = bias.value.view(),
                                .y = y.value.view()});
    });
  });
  tape.record(y, [&stream, g, x, w, w_copy, bias, storage, layer](const Tensor& dresult) {
    const bool same = dresult.dtype() == storage;
    const Tensor dy = same ? dresult : Tensor::empty(stream, dresult.shape(), storage);
    if (!same)
      dispatch(stream, [&](auto& s) { kernels::cast(s, {.x = dresult.view(), .y = dy.view()}); });
    in_layer(stream, layer, [&] { differentiate(stream, g, x, w, w_copy, bias, dy); });
  });
  return y;
}

}  // namespace passnorm::ops
