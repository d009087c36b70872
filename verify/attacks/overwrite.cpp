// Overwriting: the thief makes a passport network of what he stole, with a passport of his own at
// the owner's sites, and trains both branches. His claim can be as good as the owner's: a claim has
// no date, only a commitment published before can tell the first.
#include "models/copy.hpp"
#include "verify/attacks/rows.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

constexpr AttackSetting kSettings[] = {
    {"signature", "Mallory", any_text(), "text that the thief's bits stand for"},
    {"epochs", "5", kEpochCounts, "epochs"},
    {"lr", "0.01", kRates, "learning rate"},
    {"weight-decay", "0.0005", kDecays, "weight decay"},
    {"optimizer", "sgd", kOptimizers, "sgd | adam"},
    kSchedule,
    {"sign-loss", "0.1", number_in(0, 1e6), "factor of the hinge that embeds the thief's bits"},
};

/// A passport of the thief's own for the owner's sites, with a new gate and new statistics.
Passport passport_of_thief(const AttackInput& input, const Model& stolen, std::string signature) {
  ModelOptions options = stolen.options();
  options.plan = input.model.options().plan;
  options.seed = input.seed;
  options.initialise = true;
  const auto fresh = models::make(stolen.architecture().name, options, stolen.shared_stream());
  Passport passport = Passport::random(fresh->sites(), forger_secret(input.seed),
                                       Signature::from_text(std::move(signature)));
  models::take_lane_state(*fresh, passport);
  return passport;
}

AttackResult overwrite(const AttackInput& input, const AttackSettings& settings) {
  train::FitOptions options = fit_options(input, settings, /*weights=*/true);
  options.loss.sign.alpha = static_cast<float>(settings.number("sign-loss"));
  const train::Dataset& data = training_data(input);

  AttackResult result{.axis = "epochs", .points = {measure_untouched(input)}, .stolen = nullptr};
  const auto stolen = stolen_copy(input);
  const Passport thief = passport_of_thief(input, *stolen, settings.text("signature"));
  const auto model = models::with_passport(*stolen, thief);
  train::fit(
      *model, &thief, {.train = data}, options,
      progress_callbacks(input, options, [&](int64_t epoch) {
        result.stolen = models::released_copy(*model, &thief);
        result.points.push_back(measure_suspect(input, *result.stolen, static_cast<double>(epoch)));
        result.points.back().forger = measure_forger(input, *model, thief);
      }));
  return result;
}

}  // namespace

Attack overwrite_attack() {
  return {.name = "overwrite",
          .description = "the thief trains a passport of his own into the owner's sites",
          .source = "Lukas et al., SoK: Watermarking Robustness (IEEE S&P 2022); on passports here",
          .settings = kSettings,
          .trains = true,
          .run = overwrite};
}

}  // namespace passnorm::verify
