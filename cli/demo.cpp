#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "cli/train_options.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::cli {
namespace {

struct Options {
  std::string out = "demo-run", data = "synthetic";
  int64_t epochs = 5;
  Machine machine;
  bool overwrite = false;
  std::string program;  ///< as it was called, for the commands that the demo suggests
};

struct Claimant {
  const char* who;
  const char* key;
  const char* bits;
  verify::Verdict expected;
  verify::Claim claim;
};

int run(const Options& o) {
  const auto start = std::chrono::steady_clock::now();
  TrainOptions train;
  train.model = "tiny";
  train.data = o.data;
  train.scheme = "pan";
  train.signature = "(c) Alice 2026";
  train.schedule = "onecycle";
  train.fit.schedule = train::Schedule::parse(train.schedule);
  train.fit.epochs = o.epochs;
  train.fit.batch = 64;
  train.fit.clip_norm = 2;
  train.fit.optimizer = {.lr = 0.1f, .nesterov = true};
  train.fit.crop_pad = 2;
  train.machine = o.machine;
  train.out = o.out;
  train.overwrite = o.overwrite;

  fmt::print(
      "Alice trains a small network on ten classes of shapes. Its last two layers carry her "
      "passport.\n\n");
  std::fflush(stdout);
  const TrainedRun r = run_training(train);
  Model& model = *r.model;

  fmt::print("\nThe network has two branches, trained in one forward pass:\n");
  fmt::print("  public    {:>7}   what she releases: an ordinary network, no secret in it\n",
             percent(r.last.test->public_accuracy));
  fmt::print("  passport  {:>7}   works only with her passport\n\n",
             percent(r.last.test->passport_accuracy));
  fmt::print("Three people say it is theirs:\n\n");

  const auto random_key = [&] {
    return Passport::random(model.sites(), Secret32::random(), Signature::random());
  };
  std::vector<Claimant> claimants = {
      {"Alice, the owner", "hers", "derived from key and text", verify::Verdict::kSupported, {}},
      {"Mallory", "random", "random", verify::Verdict::kNotSupported, {}},
      {"Mallory, cleverer", "random", "fitted to the network", verify::Verdict::kInconclusive, {}},
  };
  const std::vector<Passport> passports = {*r.passport, random_key(),
                                           verify::with_read_bits(model, random_key())};
  bool as_expected = true;
  fmt::print("  {:<18} {:<7} {:<26} {:>9} {:>8}  {:>15}  {}\n", "who", "key", "bits", "match",
             "log2 p", "passport branch", "verdict");
  for (size_t i = 0; i < claimants.size(); ++i) {
    Claimant& c = claimants[i];
    train::Dataset test = r.test;
    c.claim = verify::examine(model, passports[i], {.data = &test, .null_passports = 0});
    as_expected &= c.claim.verdict == c.expected;
    fmt::print("  {:<18} {:<7} {:<26} {:>9} {:>8.1f}  {:>15}  {}\n", c.who, c.key, c.bits,
               fmt::format("{}/{}", c.claim.matched, c.claim.total), c.claim.log2_p,
               percent(c.claim.evaluation->passport_accuracy), verify::name_of(c.claim.verdict));
  }
  fmt::print(
      "\nAnyone can draw a key and write down the signs it gives, so bits that are not bound to "
      "the key prove nothing.\n");
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("\nDone in {:.0f} s. Look closer:\n", seconds);
  const std::string out = std::filesystem::path(o.out).string();
  fmt::print("  {} verify {} --passport {}/owner.passport --data {}\n", o.program, out, out,
             o.data);
  fmt::print("  {} eval {} --data {}\n", o.program, out, o.data);
  return as_expected ? kYes : kNo;
}

}  // namespace

void add_demo(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("demo", "Train a small network, then settle who owns it (seconds)");
  auto o = std::make_shared<Options>();
  OptionTable options(*command);
  options.text("out", o->out, "folder for the run", "DIR");
  options.integer("epochs", o->epochs, "passes over the data", 1, 1000);
  options.call_flag("overwrite", o->overwrite, "replace an earlier demo in --out");
  o->machine.add_to(*command);
  command->footer(
      "Exit code: 0 when the three verdicts are those to expect, else 1.\n"
      "Example: passnorm demo --out runs/demo");
  command->callback([o, &app, &action] {
    o->program = app.get_name();  // known once the command line is parsed
    action = [o] { return run(*o); };
  });
}

}  // namespace passnorm::cli
