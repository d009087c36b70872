#include "kernels/loss.hpp"

#include "engine/ops/ops.hpp"
#include "kernels/elementwise.hpp"

namespace passnorm::ops {

LaneLosses cross_entropy(Tape& tape, const Var& logits, const Tensor& labels, float smoothing) {
  const int64_t lanes = logits.lanes.parts();
  const int64_t rows = logits.shape()[0] / lanes, classes = logits.shape()[1];
  PASSNORM_CHECK(logits.shape().rank() == 2 && labels.size() == rows, "logits ", logits.shape(),
                 ", labels ", labels.shape());
  Stream& stream = tape.stream();
  const LaneLosses result{Tensor::empty(stream, {lanes}),
                          Tensor::empty(stream, {lanes}, DType::kI32)};
  const kernels::CrossEntropy forward{.lanes = lanes,
                                      .rows = rows,
                                      .classes = classes,
                                      .logits = logits.value.span(),
                                      .labels = labels.span<int32_t>(),
                                      .smoothing = smoothing,
                                      .loss = result.loss.span(),
                                      .hits = result.hits.span<int32_t>()};
  dispatch(stream, [&](auto& s) { kernels::cross_entropy(s, forward); });
  if (!logits.gradient) return result;
  tape.record_loss([&tape, &stream, logits, labels, result, forward] {
    const GradientSink to = logits.sink(stream);
    const Tensor d = to.accumulate ? Tensor::empty(stream, logits.shape()) : to.value;
    kernels::CrossEntropy backward = forward;
    backward.weight = tape.weight() * (logits.lanes.is_shared() ? 2.0f : 1.0f);
    backward.dlogits = d.span();
    dispatch(stream, [&](auto& s) {
      kernels::cross_entropy(s, backward);
      if (to.accumulate) kernels::add_to(s, {.x = d.view(), .y = to.value.view()});
    });
  });
  return result;
}

}  // namespace passnorm::ops
