// passnorm train --dry-run: what a run would be.
#include <fmt/format.h>

#include <chrono>

#include "cli/help.hpp"
#include "cli/train_options.hpp"
#include "engine/io/text.hpp"

namespace passnorm::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int64_t kSteps = 3;  // that are tried

std::string origin(const Setting& s) {
  switch (s.source) {
    case Setting::Source::kCommandLine:
      return "command line";
    case Setting::Source::kEnvironment:
      return s.variable();
    case Setting::Source::kFile:
      return s.origin;
    case Setting::Source::kDefault:
      return "default";
  }
  return {};
}

double mib(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

/// The first n images or clouds, again and again when there are fewer.
train::Dataset first_of(const train::Dataset& set, int64_t n) {
  std::vector<int64_t> index(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) index[static_cast<size_t>(i)] = i % set.n;
  return set.select(index);
}

/// Bytes, by what they hold.
struct Memory {
  size_t weights = 0, gradients = 0, optimizer = 0;
  size_t data = 0;         ///< all of it, as they are loaded and on the device
  size_t activations = 0;  ///< and workspace: the rest of the peak of a few steps and an evaluation
  size_t total() const { return weights + gradients + optimizer + data + activations; }
};

struct Trial {
  Memory memory;
  double seconds = 0;  ///< of a step
};

/// Runs the training itself on a few images.
Trial try_steps(TrainingSetup& setup, const TrainOptions& o) {
  Model& model = *setup.model;
  std::optional<Passport> passport;
  if (model.has_branch(Branch::kPassport))
    passport = Passport::random(model.sites(), Secret32::random(), Signature::random());
  const train::Dataset images = first_of(setup.data, kSteps * o.fit.batch);
  const train::Dataset test =
      first_of(setup.test, std::min(setup.test.n, train::EvaluateOptions().batch));
  const train::Dataset* const triggers = setup.triggers ? &*setup.triggers : nullptr;
  train::FitOptions fit = o.fit;
  fit.epochs = 1;
  fit.progress_seconds = 0;
  fit.max_skipped = kSteps + 1;  // the numbers do not matter here
  fit.keep_best = false;
  fit.checkpoint = {};
  Trial trial;
  auto last = Clock::now();
  train::fit(model, passport ? &*passport : nullptr, {images, &test, triggers}, fit,
             {.progress = [&](const train::Progress&) {
               const auto now = Clock::now();
               trial.seconds = std::chrono::duration<double>(now - last).count();
               last = now;
             }});
  Memory& m = trial.memory;
  m.weights = m.gradients = static_cast<size_t>(model.parameters().count()) * sizeof(float);
  m.optimizer = m.weights * (o.optimizer == "adam" ? 2 : 1);
  const size_t trigger_bytes = triggers ? triggers->bytes() : 0;
  m.data = 2 * (setup.data.bytes() + setup.test.bytes() + trigger_bytes);
  const size_t known = 2 * m.weights + m.optimizer + images.bytes() + test.bytes() + trigger_bytes;
  const size_t peak = model.stream().memory()->peak_bytes();
  m.activations = peak - std::min(peak, known);
  return trial;
}

std::string duration(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

}  // namespace

void describe_training(TrainOptions& o, const OptionTable& table) {
  const bool seed_drawn = !o.seed;
  TrainingSetup setup = set_up(o);
  const Model& model = *setup.model;
  const int64_t steps = setup.data.n / o.fit.batch;
  const Trial trial = try_steps(setup, o);
  const Memory& m = trial.memory;
  int64_t bits = 0;
  for (const int64_t channels : model.site_channels()) bits += channels;
  const double seconds = trial.seconds * static_cast<double>(steps * o.fit.epochs);

  const auto value = [&](const Setting& s) {
    const std::string text = s.toml();
    if (s.name == "seed" && seed_drawn) return std::string("(drawn)");
    if (text == "\"\"") return std::string("-");
    return text.starts_with('"') ? parse_json(s.name, text).get<std::string>() : text;
  };

  if (o.json) {
    Json settings = Json::object(), sites = Json::object();
    for (const auto& s : table.settings())
      if (s->reach != Setting::Reach::kCall)
        settings[s->name] = {{"value", value(*s)}, {"from", origin(*s)}};
    for (const Site& site : model.sites()) sites[site.name] = site.channels();
    print_json({{"settings", settings},
                {"parameters", model.parameters().count()},
                {"sites", sites},
                {"train_images", setup.data.n},
                {"test_images", setup.test.n},
                {"trigger_images", setup.triggers ? setup.triggers->n : 0},
                {"steps_per_epoch", steps},
                {"seconds_per_step", trial.seconds},
                {"memory",
                 {{"device", model.stream().device().name()},
                  {"weights", m.weights},
                  {"gradients", m.gradients},
                  {"optimizer", m.optimizer},
                  {"data", m.data},
                  {"activations", m.activations},
                  {"total", m.total()}}}});
    return;
  }
  for (const auto& s : table.settings()) {
    if (s->reach == Setting::Reach::kCall) continue;
    fmt::print("{:<22} {:<28} {}\n", s->name, value(*s), origin(*s));
  }
  fmt::print("\nnetwork   {}, {:.2f} million parameters\n", o.model,
             static_cast<double>(model.parameters().count()) / 1e6);
  fmt::print("passport  {} bits at {} of {} layers\n", bits, model.sites().size(),
             model.possible_sites().size());
  for (const Site& site : model.sites())
    fmt::print("            {:<24} {:>5} bits\n", site.name, site.channels());
  if (const std::string why = why_undecidable(model); bits > 0 && !why.empty())
    fmt::print("note      {}\n", wrapped(why, 10, 10));
  fmt::print("data      {} training, {} test {} of {} classes", setup.data.n, setup.test.n,
             setup.data.noun(), setup.data.classes);
  fmt::print("{}\n", setup.triggers ? fmt::format(", {} triggers", setup.triggers->n) : "");
  fmt::print("steps     {} an epoch, {} in all\n", steps, steps * o.fit.epochs);
  fmt::print(
      "memory    {:.0f} MiB on {}: weights {:.1f}, gradients {:.1f}, optimiser {:.1f}, data "
      "{:.1f},\n"
      "          activations and workspace {:.1f} (peak of {} steps and an evaluation, run)\n",
      mib(m.total()), model.stream().device().name(), mib(m.weights), mib(m.gradients),
      mib(m.optimizer), mib(m.data), mib(m.activations), kSteps);
  fmt::print("time      about {}, at {:.0f} ms a step here, evaluation not included\n",
             duration(seconds), 1e3 * trial.seconds);
  fmt::print("Nothing was written.\n");
}

}  // namespace passnorm::cli
