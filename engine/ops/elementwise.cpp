#include "kernels/elementwise.hpp"

#include "engine/ops/ops.hpp"

namespace passnorm::ops {

Var add(Tape& tape, const Var& a, const Var& b, bool relu) {
  const bool split = a.lanes.is_split() || b.lanes.is_split();
  PASSNORM_CHECK(a.lanes == b.lanes || (split && a.lanes.is_both() && b.lanes.is_both()),
                 "operands of different lanes");
  const Var& whole = b.lanes.is_split() ? b : a;
  Stream& stream = tape.stream();
  const Var y =
      tape.result(Tensor::empty(stream, whole.shape(), a.value.dtype()), whole.lanes, a, b);
  dispatch(stream, [&](auto& s) {
    kernels::add(s, {.a = a.value.view(), .b = b.value.view(), .y = y.value.view(), .relu = relu});
  });
  tape.record(y, [&stream, a, b, mask = relu ? y.value : Tensor()](const Tensor& dy) {
    for (const Var* x : {&a, &b}) {
      if (!x->gradient) continue;
      const GradientSink dx = x->sink(stream);
      dispatch(stream, [&](auto& s) {
        kernels::relu_backward(s, {.y = mask.view(),
                                   .dy = dy.view(),
                                   .dx = dx.value.view(),
                                   .accumulate = dx.accumulate});
      });
    }
  });
  return y;
}

Var cast(Tape& tape, const Var& x, DType dtype) {
  if (x.value.dtype() == dtype) return x;
  Stream& stream = tape.stream();
  const Var y = tape.result(Tensor::empty(stream, x.shape(), dtype), x.lanes, x);
  dispatch(stream, [&](auto& s) { kernels::cast(s, {.x = x.value.view(), .y = y.value.view()}); });
  tape.record(y, [&stream, x](const Tensor& dy) {
    const GradientSink dx = x.sink(stream);
    const Tensor to = dx.accumulate ? Tensor::empty(stream, x.shape(), dx.value.dtype()) : dx.value;
    dispatch(stream, [&](auto& s) {
      kernels::cast(s, {.x = dy.view(), .y = to.view()});
      if (dx.accumulate) kernels::add_to(s, {.x = to.view(), .y = dx.value.view()});
    });
  });
  return y;
}

Var slice(Tape& tape, const Var& x, int64_t offset, const Shape& shape) {
  Var y = tape.result(x.value.slice(offset, shape), x.lanes, x);
  if (y.gradient) {  // consumers of a slice always add: the whole starts from zero
    const GradientSink whole = x.sink(tape.stream());
    if (!whole.accumulate)
      dispatch(tape.stream(), [&](auto& s) { kernels::fill(s, {.y = whole.value.view()}); });
    *y.gradient = {whole.value.slice(offset, shape), true};
  }
  return y;
}

}  // namespace passnorm::ops
