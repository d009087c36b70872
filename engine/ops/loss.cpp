#include "kernels/loss.hpp"

#include "engine/ops/ops.hpp"
#include "kernels/elementwise.hpp"

namespace passnorm::ops {

LaneLosses cross_entropy(Tape& tape, const Var& logits, const Tensor& labels, float smoothing,
                         const LaneLosses& to) {
  const int64_t lanes = logits.lanes.parts();
  const int64_t rows = logits.shape()[0] / lanes, classes = logits.shape()[1];
  PASSNORM_CHECK(logits.shape().rank() == 2 && labels.size() == rows, "logits ", logits.shape(),
                 ", labels ", labels.shape());
  Stream& stream = tape.stream();
  const LaneLosses result = to.loss ? to
                                    : LaneLosses{Tensor::empty(stream, {lanes}),
                                                 Tensor::empty(stream, {lanes}, DType::kI32)};
  PASSNORM_CHECK(result.loss.size() == lanes && result.hits.size() == lanes, "losses ",
                 result.loss.shape(), " of ", lanes, " lanes");
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
    const GradientSink sink = logits.sink(stream);
    const Tensor d = sink.accumulate ? Tensor::empty(stream, logits.shape()) : sink.value;
    kernels::CrossEntropy backward = forward;
    backward.weight = tape.weight() * (logits.lanes.is_shared() ? 2.0f : 1.0f);
    backward.loss_scale = tape.loss_scale();
    backward.dlogits = d.span();
    dispatch(stream, [&](auto& s) {
      kernels::cross_entropy(s, backward);
      if (sink.accumulate) kernels::add_to(s, {.x = d.view(), .y = sink.value.view()});
    });
  });
  return result;
}

}  // namespace passnorm::ops
