#include "train/evaluate.hpp"

#include <numeric>

#include "train/step.hpp"

namespace passnorm::train {

Evaluation evaluate(Model& model, const OpenPassport* passport, const ImageSet& data,
                    const EvaluateOptions& o) {
  if (data.n < 1) fail(Fault::kUsage, "there are no images to evaluate on");
  check_fits(data, model);
  return evaluate(model, passport, DeviceImages(model.stream(), data), o);
}

Evaluation evaluate(Model& model, const OpenPassport* passport, const DeviceImages& images,
                    const EvaluateOptions& o) {
  Lanes lanes = o.lanes.value_or(model.training_lanes());
  if (!o.lanes && !passport) {
    if (!model.has_branch(Branch::kPublic))
      fail(Fault::kSecret, "this network has no public branch: give its passport");
    lanes = Lanes::only(Branch::kPublic);
  }
  const int64_t count = o.limit > 0 ? std::min(o.limit, images.size()) : images.size();
  std::array<double, 2> hits{}, loss{};
  std::vector<int64_t> index;
  for (int64_t first = 0; first < count; first += o.batch) {
    index.resize(static_cast<size_t>(std::min(o.batch, count - first)));
    std::iota(index.begin(), index.end(), first);
    const Batch batch = images.batch(index, o.precision);
    const StepResult r =
        forward_only(model, passport, batch.x, batch.labels, lanes, Mode::kEvaluate);
    const auto batch_hits = r.losses.hits.to_host<int32_t>(model.stream());
    const auto batch_loss = r.losses.loss.to_host(model.stream());
    for (size_t l = 0; l < batch_hits.size(); ++l) {
      hits[l] += batch_hits[l];
      loss[l] += static_cast<double>(batch_loss[l]) * static_cast<double>(index.size());
    }
  }
  // Shared logits have one entry for both branches.
  const auto n = static_cast<double>(count);
  Evaluation e{.images = count};
  if (lanes.has(Branch::kPublic)) {
    e.public_accuracy = hits[0] / n;
    e.public_loss = loss[0] / n;
  }
  if (lanes.has(Branch::kPassport)) {
    const size_t l = lanes.is_both() && !model.sites().empty() ? 1 : 0;
    e.passport_accuracy = hits[l] / n;
    e.passport_loss = loss[l] / n;
  }
  return e;
}

}  // namespace passnorm::train
