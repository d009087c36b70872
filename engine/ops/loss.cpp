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
  GradientSink sink;
  if (tape.differentiates(logits)) sink = logits.sink(stream);
  const Tensor dlogits = sink.accumulate ? Tensor::empty(stream, logits.shape()) : sink.value;
  dispatch(stream, [&](auto& s) {
    kernels::cross_entropy(s, {.lanes = lanes,
                               .rows = rows,
                               .classes = classes,
                               .logits = logits.value.span(),
                               .labels = labels.span<int32_t>(),
                               .smoothing = smoothing,
                               .weight = logits.lanes.is_shared() ? 2.0f : 1.0f,
                               .loss_scale = tape.loss_scale(),
                               .loss = result.loss.span(),
                               .hits = result.hits.span<int32_t>(),
                               .dlogits = dlogits.span()});
    if (sink.accumulate) kernels::add_to(s, {.x = dlogits.view(), .y = sink.value.view()});
  });
  return result;
}

}  // namespace passnorm::ops
