#include "models/copy.hpp"
#include "verify/attacks/rows.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

constexpr AttackSetting kSettings[] = {
    {"shares", "0..1:0.1", numbers_in(0, 1), "shares of all scales whose signs are turned"},
    {"detection", "used", one_of("used | weights"),
     "used: bits are read from the turned scales | weights: from the weights, which do not change, "
     "as the references do"},
    {"gate", "yes", yes_or_no(),
     "no: the turned scales are applied as they are also where a gate follows them, "
     "as the references do"},
};

/// Where each scale stands in the raw vector [sum 2 C].
std::vector<size_t> scale_places(const Model& model) {
  std::vector<size_t> places;
  size_t at = 0;
  for (const int64_t c : model.site_channels()) {
    for (int64_t i = 0; i < c; ++i) places.push_back(at++);
    at += static_cast<size_t>(c);
  }
  return places;
}

AttackResult run(const AttackInput& input, const AttackSettings& settings) {
  const std::vector<double> shares = settings.numbers("shares");
  const bool from_weights = settings.text("detection") == "weights";
  const bool gate = settings.flag("gate");
  AttackResult result{.axis = "share of scales turned"};
  result.points.push_back(measure_untouched(input));
  if (!input.model.has_branch(Branch::kPassport))
    fail(Fault::kUsage, "a folded network has no passport branch, whose scales could be turned");

  const auto model = models::copy_of(input.model);
  Stream& stream = model->stream();
  Tape tape(stream, Tape::Mode::kForwardOnly);
  const Var raw = model->read(tape, model->open(input.passport));
  const std::vector<float> scales = raw.value.to_host(stream);
  const std::vector<size_t> places = scale_places(*model);
  Var used;
  model->on_passport_read = [&](Pass& pass) { pass.used = used; };
  for (const double share : shares) {
    if (share == 0 && gate) continue;  // the untouched network
    report_progress(input, concat("share ", share));
    std::vector<float> turned = scales;
    const auto total = static_cast<int64_t>(places.size());
    for (const int64_t i :
         random_choice(total, static_cast<int64_t>(static_cast<double>(total) * share), input.seed,
                       kFlipStream))
      turned[places[static_cast<size_t>(i)]] *= -1;
    const Var flipped{Tensor::from<float>(stream, raw.shape(), turned), raw.lanes, nullptr};
    used = gate ? model->gate(tape, flipped) : flipped;
    AttackPoint point = measure(input, *model, share);
    if (!from_weights) {
      const auto evaluation = point.owner.evaluation;
      point.owner = claim_on(*model, input.passport, turned);
      point.owner.evaluation = evaluation;
    }
    result.points.push_back(std::move(point));
  }
  return result;
}

}  // namespace

Attack flip_attack() {
  return {.name = "flip",
          .description = "the signs of a share of the passport's scales turned around",
          .source = "DeepIPR (TPAMI 2021)",
          .settings = kSettings,
          .run = run};
}

}  // namespace passnorm::verify
