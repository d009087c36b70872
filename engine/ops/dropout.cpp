#include "kernels/dropout.hpp"

#include "engine/ops/ops.hpp"

namespace passnorm::ops {

Var dropout(Tape& tape, const Var& x, const Dropout& o) {
  if (o.probability == 0) return x;
  Stream& stream = tape.stream();
  const auto run = [&stream, o, parts = x.lanes.parts()](ConstView from, View to, bool accumulate) {
    dispatch(stream, [&](auto& s) {
      kernels::dropout(s, {.parts = parts,
                           .x = from,
                           .y = to,
                           .probability = o.probability,
                           .seed = o.seed,
                           .step = o.step,
                           .layer = o.layer,
                           .accumulate = accumulate});
    });
  };
  const Var y = tape.result(Tensor::empty(stream, x.shape(), x.value.dtype()), x.lanes, x);
  run(x.value.view(), y.value.view(), false);
  tape.record(y, [&stream, x, run](const Tensor& dy) {
    const GradientSink dx = x.sink(stream);
    run(dy.view(), dx.value.view(), dx.accumulate);
  });
  return y;
}

}  // namespace passnorm::ops
