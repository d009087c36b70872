#include "verify/attacks/prune.hpp"

#include "kernels/prune.hpp"
#include "models/copy.hpp"
#include "verify/attacks/rows.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {

Pruned prune_weights(Model& model, double percent, bool skip_gate) {
  std::vector<std::span<const float>> all;
  std::vector<std::span<float>> pruned;
  Pruned result{.kept = model.parameters().count()};
  for (const Parameter& p : model.parameters().parameters()) {
    all.push_back(p.var.value.span());
    if (!skip_gate || p.spec.name.find("fc") == std::string::npos)
      pruned.push_back(p.var.value.span());
  }
  result.threshold = kernels::magnitude_percentile(model.stream(), all, percent);
  if (percent == 0) return result;
  for (const auto& tensor : pruned) result.kept -= static_cast<int64_t>(tensor.size());
  dispatch(model.stream(), [&](auto& s) {
    result.kept += kernels::prune(s, {.tensors = pruned, .threshold = result.threshold});
  });
  return result;
}

namespace {

constexpr AttackSetting kSettings[] = {
    {"rates", "0..1:0.1", numbers_in(0, 1), "shares of all weights that become zero"},
    {"variant", "all", one_of("all | skip-gate"),
     "all: DeepIPR's | skip-gate: PAN's, tensors named fc stay as they are: gates, which only "
     "target=owner has, and pointnet's transform nets"},
    {"target", "released", one_of("released | owner"),
     "released: what a thief has | owner: the owner's network with its gate, as the references do"},
};

AttackResult run(const AttackInput& input, const AttackSettings& settings) {
  const bool skip_gate = settings.text("variant") == "skip-gate";
  const bool owners = settings.text("target") == "owner";
  const std::vector<double> rates = settings.numbers("rates");
  AttackResult result{.axis = "share of weights pruned"};
  result.points.push_back(measure_untouched(input));
  for (const double rate : rates) {
    if (rate == 0) continue;
    report_progress(input, concat("rate ", rate));
    auto attacked = owners ? models::copy_of(input.model) : stolen_copy(input);
    const Pruned pruned = prune_weights(*attacked, 100 * rate, skip_gate);
    AttackPoint point =
        owners ? measure(input, *attacked, rate) : measure_suspect(input, *attacked, rate);
    point.metrics.emplace_back("threshold", pruned.threshold);
    point.metrics.emplace_back("weights kept", static_cast<double>(pruned.kept));
    result.points.push_back(std::move(point));
    result.stolen =
        owners ? models::released_copy(*attacked, &input.passport) : std::move(attacked);
  }
  return result;
}

}  // namespace

Attack prune_attack() {
  return {.name = "prune",
          .description = "the smallest weights of the whole network become zero",
          .source = "DeepIPR (TPAMI 2021); Passport-aware Normalization (NeurIPS 2020)",
          .settings = kSettings,
          .run = run};
}

}  // namespace passnorm::verify
