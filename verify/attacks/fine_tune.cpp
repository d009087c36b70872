// Fine-tuning: the thief trains what he stole, on the same task or another one, without passport.
#include <algorithm>

#include "kernels/elementwise.hpp"
#include "models/copy.hpp"
#include "models/replaced_layers.hpp"
#include "verify/attacks/rows.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

/// The network for other classes: everything but the last layer, which is new.
std::unique_ptr<Model> with_new_last_layer(const Model& model, int64_t classes, uint64_t seed) {
  ModelOptions options = model.options();
  options.classes = classes;
  options.seed = seed;
  options.initialise = true;
  auto out = models::make(model.architecture().name, options, model.shared_stream());
  copy_released(model, *out, [&](const TensorSpec& to) { return !in_last_layer(*out, to.name); });
  return out;
}

/// At the sites. PAN's program finds no statistics for the thief there, because its passport layers
/// keep them under other names; those of all other layers it copies.
void start_statistics_anew(Model& model, const std::vector<Site>& sites) {
  for (const Buffer& b : model.parameters().buffers())
    if (std::ranges::any_of(
            sites, [&](const Site& site) { return b.spec.name.starts_with(site.name + "."); }))
      dispatch(model.stream(), [&](auto& s) {
        kernels::fill(s, {.y = b.value.view(), .value = b.spec.init.value});
      });
}

/// The owner's network with the thief's features, as both references measure it: its own scale and
/// shift at the sites, gate and last layer. statistics: those of the public branch too.
std::unique_ptr<Model> written_back(const AttackInput& input, const Model& thief, bool statistics) {
  auto model = models::copy_of(input.model);
  copy_released(thief, *model, [&](const TensorSpec& to) {
    for (const Site& site : model->sites())
      if (to.name == site.name + ".scale" || to.name == site.name + ".bias") return false;
    const bool renamed_buffer = to.name.find(".bn0.") != std::string::npos;
    return !in_last_layer(*model, to.name) && (statistics || !renamed_buffer);
  });
  return model;
}

void add_accuracy(AttackPoint& point, const std::string& name,
                  const std::optional<double>& accuracy) {
  if (accuracy) point.metrics.emplace_back(name, *accuracy);
}

class FineTuning {
 public:
  FineTuning(const AttackInput& input, const AttackSettings& settings)
      : input_(input),
        mode_(settings.text("mode")),
        other_(settings.text("task") == "other"),
        fresh_(settings.flag("fresh-statistics")),
        write_back_(settings.flag("write-back")),
        options_(fit_options(input, settings, /*weights=*/true)),
        data_(data()) {}

  AttackResult run() {
    AttackResult result{
        .axis = other_ ? "epochs on the other task, whose test set the accuracy is of" : "epochs",
        .points = {untouched()},
        .stolen = nullptr};
    std::unique_ptr<Model> thief = stolen_copy(input_);
    if (other_ || mode_.starts_with("rt"))
      thief = with_new_last_layer(*thief, data_.classes, input_.seed);
    if (fresh_) start_statistics_anew(*thief, input_.model.sites());
    if (mode_.ends_with("ll"))
      thief->parameters().train_only(thief->stream(), [&](const TensorSpec& spec) {
        return in_last_layer(*thief, spec.name);
      });
    train::fit(*thief, nullptr, {.train = data_}, options_,
               progress_callbacks(input_, options_, [&](int64_t epoch) {
                 result.points.push_back(point(*thief, static_cast<double>(epoch)));
               }));
    result.stolen = std::move(thief);
    return result;
  }

 private:
  /// Of another task the untouched network knows nothing: there are its bits.
  AttackPoint untouched() const {
    if (!other_) return measure_untouched(input_);
    return {.owner =
                examine(*models::copy_of(input_.model), input_.passport, {.null_passports = 0})};
  }

  const train::Dataset& data() const {
    if (!other_) return training_data(input_);
    if (!input_.other_train) fail(Fault::kUsage, "setting task: other needs data of another task");
    if (input_.other_train->n < input_.batch)
      fail(Fault::kUsage, "a batch of ", input_.batch, " is larger than the ",
           input_.other_train->n, " samples of the other task");
    return *input_.other_train;
  }

  AttackPoint point(Model& thief, double epoch) {
    AttackPoint point =
        other_ ? point_of_other_task(thief, epoch) : measure_suspect(input_, thief, epoch);
    if (passport_is_the_affine())
      point.metrics.emplace_back("bits in the thief's scale", bits_in_scale(thief));
    if (!write_back_) return point;
    const auto owner = written_back(input_, thief, !fresh_);
    const OpenPassport open = owner->open(input_.passport);
    const auto add = [&](const train::Dataset* set, const std::string& name) {
      if (!set) return;
      const train::Evaluation e = train::evaluate(*owner, &open, *set);
      add_accuracy(point, concat("written back: public ", name), e.public_accuracy);
      add_accuracy(point, concat("written back: passport ", name), e.passport_accuracy);
    };
    add(input_.test, "accuracy");
    add(input_.triggers, "trigger accuracy");
    return point;
  }

  /// The claim's accuracy is that on the other task.
  AttackPoint point_of_other_task(Model& thief, double epoch) {
    Passport passport = models::without_replaced_layers(input_.passport, thief);
    models::take_lane_state(input_.model, passport);
    const auto suspect = models::with_passport(thief, passport);
    AttackPoint point{
        .x = epoch,
        .owner = examine(*suspect, passport, {.data = input_.other_test, .null_passports = 0})};
    if (input_.other_test && !input_.model.has_branch(Branch::kPublic))
      add_accuracy(point, "stolen accuracy",
                   train::evaluate(thief, nullptr, *input_.other_test).public_accuracy);
    return point;
  }

  /// deepipr-v1: what the thief trained as his scale was the passport's raw one.
  bool passport_is_the_affine() const {
    return !input_.model.has_branch(Branch::kPublic) && !input_.model.options().plan.scheme->gate;
  }
  /// Share of the bits in the signs of his scale: what DeepIPR's program detects, for which the
  /// passport's keys are not needed.
  double bits_in_scale(Model& thief) const {
    const Passport passport = models::without_replaced_layers(input_.passport, thief);
    int64_t matched = 0;
    for (const SitePassport& site : passport.sites()) {
      const Parameter* scale = thief.parameters().find(site.site.name + ".bn.weight");
      PASSNORM_CHECK(scale, "no scale at ", site.site.name);
      const std::vector<float> values = scale->var.value.to_host(thief.stream());
      for (size_t c = 0; c < values.size(); ++c)
        matched += values[c] * static_cast<float>(site.bits[c]) > 0;
    }
    return static_cast<double>(matched) / static_cast<double>(passport.bit_count());
  }

  const AttackInput& input_;
  const std::string mode_;
  const bool other_, fresh_, write_back_;
  const train::FitOptions options_;
  const train::Dataset& data_;
};

constexpr AttackSetting kSettings[] = {
    {"mode", "ftal", one_of("ftal | ftll | rtal | rtll"),
     "ftal: all layers are trained; ftll: the last; rtal, rtll: the same behind a new last layer"},
    {"task", "same", one_of("same | other"), "same | other: the other data, with a new last layer"},
    {"epochs", "5", kEpochCounts, "epochs; the papers train 100"},
    {"lr", "0.001", kRates, "learning rate"},
    {"weight-decay", "0.0005", kDecays, "weight decay"},
    {"optimizer", "sgd", kOptimizers, "sgd | adam"},
    kSchedule,
    {"fresh-statistics", "no", yes_or_no(),
     "yes: running statistics at the passport's sites start anew, as in PAN's program; no: with "
     "the owner's"},
    {"write-back", "yes", yes_or_no(),
     "yes: measures the owner's network with the thief's features too, on its own task, as both "
     "programs do"},
};

AttackResult fine_tune(const AttackInput& input, const AttackSettings& settings) {
  return FineTuning(input, settings).run();
}

}  // namespace

Attack fine_tune_attack() {
  return {.name = "fine-tune",
          .description = "the thief trains on, on the same task or another one",
          .source = "both papers; modes as in Adi et al. (USENIX Security 2018)",
          .settings = kSettings,
          .trains = true,
          .run = fine_tune};
}

}  // namespace passnorm::verify
