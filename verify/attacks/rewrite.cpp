#include "verify/attacks/rewrite.hpp"

#include <algorithm>
#include <numeric>

#include "models/logits.hpp"
#include "train/step.hpp"

namespace passnorm::verify {
namespace {

std::vector<float> logits(const AttackInput& input, Model& model) {
  std::vector<int64_t> index(static_cast<size_t>(std::min<int64_t>(64, input.test->n)));
  std::iota(index.begin(), index.end(), 0);
  const train::Batch batch = train::DeviceDataset(model.stream(), *input.test).batch(index);
  return train::forward_only(model, nullptr, batch.x, batch.labels, Lanes::only(Branch::kPublic),
                             Mode::kEvaluate)
      .logits.value.to_host(model.stream());
}

}  // namespace

std::vector<std::vector<float>> raw_scales(const Model& model, const Passport& passport) {
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  const std::vector<float> raw =
      model.read(tape, model.open(passport)).value.to_host(model.stream());
  std::vector<std::vector<float>> scales;
  auto at = raw.begin();
  for (const int64_t channels : model.site_channels()) {
    scales.emplace_back(at, at + channels);
    at += 2 * channels;  // the shifts stand behind
  }
  return scales;
}

double change_of_logits(const AttackInput& input, Model& before, Model& after) {
  const models::LogitChange change =
      models::logit_change(logits(input, before), logits(input, after));
  return change.largest / std::max(change.spread, 1e-30);
}

}  // namespace passnorm::verify
