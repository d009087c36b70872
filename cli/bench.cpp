#include <fmt/format.h>
#include <sys/resource.h>

#include "bench/ceilings.hpp"
#include "bench/inference.hpp"
#include "bench/kernels.hpp"
#include "bench/loader.hpp"
#include "bench/step.hpp"
#include "cli/app.hpp"
#include "cli/options.hpp"

namespace passnorm::cli {
namespace {

constexpr double kMebi = 1 << 20;

Json milliseconds(const std::vector<double>& seconds) {
  const auto [least, most] = std::ranges::minmax(seconds);
  return {{"median", 1e3 * bench::median(seconds)}, {"least", 1e3 * least}, {"most", 1e3 * most}};
}

/// The most physical memory that the process ever had, in MiB.
double peak_resident_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;  // Linux counts in KiB
}

struct Shared {
  float seconds = 10;
  Machine machine;
  bool json = false;
  void add_to(OptionTable& options, const char* what) {
    options.number("seconds", seconds, what, 0, 3600);
    add_to(options);
  }
  void add_to(OptionTable& options) {
    options.call_flag("json", json, "one JSON document on stdout");
  }
};

void print_ceilings(const std::map<std::string, double>& ceilings) {
  for (const auto& [name, rate] : ceilings)
    fmt::print("ceiling {}: {:.1f} {}\n", name, 1e-9 * rate,
               name.starts_with("copy") ? "GB/s" : "GFLOP/s");
}

/// For people: the JSON documents have them.
void print_notes(Stream& stream) {
  for (const std::string& note : stream.notes()) fmt::print(stderr, "note: {}\n", note);
}

DType precision_named(const std::string& name) {
  return name == "bf16" ? DType::kBF16 : name == "f16" ? DType::kF16 : DType::kF32;
}

/// A network and what is made of it.
struct Network {
  std::string model = "resnet18", scheme, norm = "batch", sites = "last";
  int64_t batch = 64;
  std::string precision = "f32";
  void add_to(OptionTable& options) {
    options.text("model", model, names_of(models::architectures()).c_str(), "NAME");
    options.text("scheme", scheme, names_of(schemes()).c_str(), "NAME");
    options.text("norm", norm, "batch | group | instance | layer", "NAME");
    options.text("sites", sites, "layers with a passport: last, all, or patterns", "LIST");
    options.integer("batch", batch, "images or clouds of a step", 1, 65536);
    options.choice("precision", precision, {"f32", "bf16", "f16"},
                   "of activations and their gradients");
  }
  Json json() const {
    return {{"model", model}, {"scheme", scheme}, {"norm", norm},
            {"sites", sites}, {"batch", batch},   {"precision", precision}};
  }
};

struct Step : Shared {
  Network network{.scheme = "none"};
  int64_t steps = 0;
  bool stages = false;
};

int run_step(const Step& o) {
  const Network& n = o.network;
  const auto stream = o.machine.stream();
  const auto model = models::make(
      n.model, {.norm = norm_kind(n.norm), .plan = PassportPlan::of(n.scheme, n.sites)}, stream);
  const bench::StepTimes t =
      bench::time_steps(*model, {.batch = n.batch,
                                 .precision = precision_named(n.precision),
                                 .repetition = {.count = o.steps, .seconds = o.seconds},
                                 .stages = o.stages});
  const double peak = static_cast<double>(t.peak_bytes) / kMebi;
  if (o.json) {
    Json json = n.json();
    json.update({{"images_per_second", t.images_per_second},
                 {"milliseconds", milliseconds(t.seconds)},
                 {"steps", t.seconds.size()},
                 {"peak_mib", peak},
                 {"peak_resident_mib", peak_resident_mib()},
                 {"device", o.machine.describe(*stream)},
                 {"notes", stream->notes()},
                 {"launches", t.launches},
                 {"flops", t.flops},
                 {"flops_per_second", t.flops / t.median},
                 {"ceiling", t.ceiling},
                 {"share", t.share > 0 ? Json(t.share) : Json(nullptr)},
                 {"parameters", model->parameters().count()}});
    if (o.stages)
      json["stages_milliseconds"] = {{"forward", 1e3 * t.forward},
                                     {"backward", 1e3 * t.backward},
                                     {"optimizer", 1e3 * t.optimizer}};
    print_json(json);
    return kYes;
  }
  print_notes(*stream);
  const auto [least, most] = std::ranges::minmax(t.seconds);
  fmt::print(
      "{} {} {} {} {} batch {}: {:.1f} images/s, {:.1f} ms a step (median of {}, {:.1f} to "
      "{:.1f}), "
      "{:.0f} MiB\n",
      n.model, n.scheme, n.norm, n.sites, n.precision, n.batch, t.images_per_second, 1e3 * t.median,
      t.seconds.size(), 1e3 * least, 1e3 * most, peak);
  fmt::print("  convolutions {:.1f} GFLOP a step: {:.0f} GFLOP/s, {:.0f}% of {}\n", 1e-9 * t.flops,
             1e-9 * t.flops / t.median, 100 * t.share, t.ceiling);
  if (o.stages)
    fmt::print("  forward {:.1f} ms, backward {:.1f} ms, optimiser {:.1f} ms\n", 1e3 * t.forward,
               1e3 * t.backward, 1e3 * t.optimizer);
  return kYes;
}

struct Inference : Shared {
  Network network{.scheme = "pan"};
  int64_t rounds = 0;
};

int run_inference(const Inference& o) {
  const Network& n = o.network;
  const auto times = bench::time_inference({.model = n.model,
                                            .scheme = n.scheme,
                                            .sites = n.sites,
                                            .norm = norm_kind(n.norm),
                                            .batch = n.batch,
                                            .precision = precision_named(n.precision),
                                            .seconds = o.seconds,
                                            .rounds = o.rounds},
                                           o.machine.stream());
  if (o.json) {
    Json json = n.json();
    for (const auto& t : times)
      json["networks"][t.name] = {{"images_per_second", t.images_per_second},
                                  {"milliseconds", milliseconds(t.seconds)},
                                  {"speed_of_plain", t.ratio},
                                  {"rounds", t.seconds.size()}};
    print_json(json);
    return kYes;
  }
  for (const auto& t : times)
    fmt::print("{:<9} {:8.1f} images/s, {:8.2f} ms a batch of {}, {:.3f} of plain's speed\n",
               t.name, t.images_per_second, 1e3 * t.median, n.batch, t.ratio);
  return kYes;
}

struct Loader : Shared {
  int64_t batch = 64;
};

int run_loader(const Loader& o) {
  const bench::LoaderTimes t = bench::time_loader(
      o.machine.stream(),
      {.batch = o.batch, .repetition = {.warmup = 10, .seconds = o.seconds / 4}});
  if (o.json)
    print_json({{"images_per_second", t.images_per_second},
                {"milliseconds", milliseconds(t.seconds)},
                {"bytes", t.bytes},
                {"bytes_per_second", t.bytes / t.median},
                {"share_of_copy", t.share},
                {"plain_milliseconds", 1e3 * t.plain},
                {"clouds_milliseconds", 1e3 * t.clouds},
                {"tiny_step_milliseconds", 1e3 * t.tiny_step},
                {"share_of_tiny_step", t.share_of_step},
                {"batch", o.batch}});
  else
    fmt::print(
        "{:.0f} images/s: {:.3f} ms a batch of {} with crop and flip, {:.3f} ms without; "
        "{:.1f}% of a training step of tiny\n"
        "  {:.2f} MB a batch: {:.1f} GB/s, {:.0f}% of a copy\n"
        "  {:.3f} ms a batch of as many point clouds of 1024 points, augmented\n",
        t.images_per_second, 1e3 * t.median, o.batch, 1e3 * t.plain, 100 * t.share_of_step,
        1e-6 * t.bytes, 1e-9 * t.bytes / t.median, 100 * t.share, 1e3 * t.clouds);
  return kYes;
}

int run_ceilings(const Shared& o) {
  const auto stream = o.machine.stream();
  const auto ceilings = bench::measure_ceilings(*stream);
  if (o.json)
    print_json({{"device", o.machine.describe(*stream)}, {"ceilings", ceilings}});
  else
    print_ceilings(ceilings);
  return kYes;
}

struct Kernels : Shared {
  bench::KernelBench bench;
  bool list = false;
};

int run_kernels(Kernels o) {
  o.bench.seconds = o.seconds;
  if (o.list) {
    const std::optional<Device> named = device_of(o.machine.device);
    const std::vector<std::string> names =
        bench::kernel_names(named ? *named : Device::best(), o.bench);
    if (o.json)
      print_json(names);
    else
      for (const std::string& name : names) fmt::print("{}\n", name);
    return kYes;
  }
  const auto stream = o.machine.stream();
  const bench::KernelReport report = bench::time_kernels(*stream, o.bench);
  if (o.json) {
    Json kernels = Json::array();
    for (const auto& k : report.kernels) {
      Json row{{"name", k.name}};
      if (!k.skipped.empty()) {
        row["skipped"] = k.skipped;
      } else {
        row.update(
            {{"milliseconds",
              {{"median", 1e3 * k.median}, {"least", 1e3 * k.least}, {"most", 1e3 * k.most}}},
             {"bytes", k.bytes},
             {"bytes_per_second", k.bytes / k.median},
             {"ceiling", k.ceiling},
             {"share", k.share > 0 ? Json(k.share) : Json(nullptr)}});
        if (k.flops > 0) row.update({{"flops", k.flops}, {"flops_per_second", k.flops / k.median}});
        if (k.moved > k.bytes) row["moved_bytes"] = k.moved;
        if (k.launches > 0) row["launches"] = k.launches;
      }
      kernels.push_back(row);
    }
    print_json({{"device", o.machine.describe(*stream)},
                {"notes", stream->notes()},
                {"kernels", kernels},
                {"ceilings", report.ceilings}});
    return kYes;
  }
  print_notes(*stream);
  fmt::print("{:<48} {:>10} {:>9} {:>9} {:>7}  of\n", "kernel", "ms", "GFLOP/s", "GB/s", "share");
  for (const auto& k : report.kernels) {
    if (!k.skipped.empty()) {
      fmt::print("{:<48} {}\n", k.name, k.skipped);
      continue;
    }
    const std::string arithmetic =
        k.flops > 0 ? fmt::format("{:.1f}", 1e-9 * k.flops / k.median) : "-";
    fmt::print("{:<48} {:>10.4f} {:>9} {:>9.1f} {:>6.0f}%  {}\n", k.name, 1e3 * k.median,
               arithmetic, 1e-9 * k.bytes / k.median, 100 * k.share, k.ceiling);
  }
  print_ceilings(report.ceilings);
  return kYes;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("bench", "Measure this machine");
  command->require_subcommand(1);
  command->footer(
      "passnorm bench COMMAND --help explains a command and shows examples.\n"
      "Example: passnorm bench step --model resnet18 --scheme pan --seconds 30");

  CLI::App* step =
      command->add_subcommand("step", "Whole training steps on random images: images per second");
  const auto s = std::make_shared<Step>();
  OptionTable of_step(*step);
  s->network.add_to(of_step);
  of_step.integer("steps", s->steps, "timed steps; 0: as many as fit into --seconds", 0, 1'000'000);
  of_step.call_flag("stages", s->stages, "also forward, backward and optimiser apart");
  s->add_to(of_step, "of measuring");
  s->machine.add_to(*step, true);
  step->footer(
      "Example: passnorm bench step --model resnet18 --scheme deepipr-v2 --batch 64 --threads 2");
  step->callback([s, &action] { action = [s] { return run_step(*s); }; });

  CLI::App* inference = command->add_subcommand(
      "inference", "Forward passes: plain network, public branch, folded, passport branch");
  const auto i = std::make_shared<Inference>();
  OptionTable of_inference(*inference);
  i->network.add_to(of_inference);
  of_inference.integer("rounds", i->rounds,
                       "timed rounds through the networks; 0: as many as fit into --seconds", 0,
                       1'000'000);
  i->add_to(of_inference, "of measuring, all networks together");
  i->machine.add_to(*inference);
  inference->footer("Example: passnorm bench inference --model resnet18 --scheme pan --sites all");
  inference->callback([i, &action] { action = [i] { return run_inference(*i); }; });

  CLI::App* loader = command->add_subcommand("loader", "Making batches: images per second");
  const auto l = std::make_shared<Loader>();
  OptionTable of_loader(*loader);
  of_loader.integer("batch", l->batch, "images of a batch", 1, 10'000);
  l->seconds = 6;
  l->add_to(of_loader, "of measuring");
  l->machine.add_to(*loader);
  loader->footer("Example: passnorm bench loader --batch 128");
  loader->callback([l, &action] { action = [l] { return run_loader(*l); }; });

  CLI::App* kernels = command->add_subcommand(
      "kernels", "Single kernels on the networks' shapes, beside the ceilings of this machine");
  const auto k = std::make_shared<Kernels>();
  OptionTable of_kernels(*kernels);
  of_kernels.text("filter", k->bench.filter, "kernels whose name has a match", "REGEX");
  of_kernels.integer("batch", k->bench.samples, "samples of the shapes", 2, 65536);
  of_kernels.integer("repetitions", k->bench.repetitions, "of each kernel; the median counts", 1,
                     1000);
  of_kernels.call_flag("list", k->list, "names only");
  k->seconds = 0.2F;
  k->add_to(of_kernels, "of each repetition");
  k->machine.add_to(*kernels);
  kernels->footer("Example: passnorm bench kernels --filter '^norm/both' --threads 2");
  kernels->callback([k, &action] { action = [k] { return run_kernels(*k); }; });

  CLI::App* ceilings = command->add_subcommand(
      "ceilings", "What kernels are held against: copies by size, and the arithmetic");
  const auto c = std::make_shared<Shared>();
  OptionTable of_ceilings(*ceilings);
  c->add_to(of_ceilings);
  c->machine.add_to(*ceilings);
  ceilings->footer("Example: passnorm bench ceilings --device cuda");
  ceilings->callback([c, &action] { action = [c] { return run_ceilings(*c); }; });
}

}  // namespace passnorm::cli
