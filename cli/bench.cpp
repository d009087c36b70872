#include <fmt/format.h>

#include "bench/step.hpp"
#include "cli/app.hpp"

namespace passnorm::cli {
namespace {

struct Options {
  std::string model = "resnet18", scheme = "none", norm = "batch", sites = "last";
  bench::StepBench bench;
  Machine machine;
  bool json = false;
};

int run(const Options& o) {
  const auto model = models::make(
      o.model, {.norm = norm_kind(o.norm), .plan = PassportPlan::of(o.scheme, o.sites)},
      o.machine.stream());
  const bench::StepTimes t = bench::time_steps(*model, o.bench);
  const auto [least, most] = std::ranges::minmax(t.seconds);
  if (o.json)
    print_json({{"images_per_second", t.images_per_second},
                {"milliseconds",
                 {{"median", 1e3 * t.median}, {"least", 1e3 * least}, {"most", 1e3 * most}}},
                {"steps", t.seconds.size()},
                {"peak_mib", static_cast<double>(t.peak_bytes) / (1 << 20)},
                {"model", o.model},
                {"scheme", o.scheme},
                {"norm", o.norm},
                {"sites", o.sites},
                {"batch", o.bench.batch}});
  else
    fmt::print(
        "{} {} {} {} batch {}: {:.1f} images/s, {:.1f} ms a step (median of {}, {:.1f} to {:.1f}), "
        "{:.0f} MiB\n",
        o.model, o.scheme, o.norm, o.sites, o.bench.batch, t.images_per_second, 1e3 * t.median,
        t.seconds.size(), 1e3 * least, 1e3 * most, static_cast<double>(t.peak_bytes) / (1 << 20));
  return kYes;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("bench", "Measure this machine");
  command->require_subcommand(1);
  CLI::App* step =
      command->add_subcommand("step", "Whole training steps on random images: images per second");
  auto o = std::make_shared<Options>();
  step->add_option("--model", o->model)->capture_default_str();
  step->add_option("--scheme", o->scheme)->capture_default_str();
  step->add_option("--norm", o->norm)->capture_default_str();
  step->add_option("--sites", o->sites)->capture_default_str();
  step->add_option("--batch", o->bench.batch)->check(CLI::Range(1, 65536))->capture_default_str();
  step->add_option("--steps", o->bench.steps, "timed steps; 0: as many as fit into --seconds")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  step->add_option("--seconds", o->bench.seconds)
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  o->machine.add_to(*step);
  step->add_flag("--json", o->json, "one JSON document on stdout");
  step->footer(
      "Example: passnorm bench step --model resnet18 --scheme deepipr-v2 --batch 64 --threads 2");
  step->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
