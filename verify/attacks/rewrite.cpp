#include "verify/attacks/rewrite.hpp"

#include <algorithm>
#include <numeric>

#include "models/logits.hpp"
#include "train/step.hpp"
#include "verify/attacks/training.hpp"

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

double change_of_logits(const AttackInput& input, Model& before, Model& after) {
  const models::LogitChange change =
      models::logit_change(logits(input, before), logits(input, after));
  return change.largest / std::max(change.spread, 1e-30);
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

Passport forged_passport(const AttackInput& input, const std::string& signature) {
  return Passport::random(input.model.sites(), forger_secret(input.seed),
                          Signature::from_text(signature));
}

AttackResult rewrite_shares(const AttackInput& input, std::string axis,
                            const std::vector<double>& shares, const Passport* forged,
                            const std::function<void(Model& suspect, double share)>& rewrite) {
  const auto before = stolen_copy(input);
  AttackResult result{.axis = std::move(axis)};
  result.points.push_back(measure_untouched(input));
  for (const double share : shares) {
    if (share == 0) continue;
    auto suspect = stolen_copy(input);
    rewrite(*suspect, share);
    AttackPoint point = measure_suspect(input, *suspect, share);
    if (forged) point.forger = measure_forger(input, *before_judge(input, *suspect), *forged);
    if (input.test)
      point.metrics.emplace_back("change of logits", change_of_logits(input, *before, *suspect));
    result.points.push_back(std::move(point));
    result.stolen = std::move(suspect);
  }
  return result;
}

}  // namespace passnorm::verify
