#include <fmt/format.h>

#include "cli/examined.hpp"
#include "cli/options.hpp"
#include "cli/verify_options.hpp"

namespace passnorm::cli {
namespace {

/// A black-box claim needs neither model nor passport, so that the command line cannot require
/// them.
void check_options(const VerifyOptions& o) {
  for (const char* name : {"--triggers", "--owner-file", "--predictions", "--decoy-predictions",
                           "--decoys", "--classes"})
    if (o.given(name)) fail(Fault::kUsage, name, " goes with --black-box");
  const char* missing = o.model.path.empty() ? "DIR|FILE is required: the run or model to examine"
                        : o.model.passport.empty()
                            ? "--passport is required: the owner's file; without one a network can "
                              "be asked about triggers, with --black-box"
                            : nullptr;
  if (missing) fail(Fault::kUsage, missing, " (passnorm verify --help tells more)");
}

int run(const VerifyOptions& o) {
  if (o.black_box) return verify_black_box(o);
  check_options(o);
  const Examined examined = Examined::open(o.model, o.machine, Examined::As::kSuspect);
  for (const std::string& site : examined.left_out)
    fmt::print(stderr,
               "note: {}: the network's layer is a new one, for other classes: the claim is that "
               "of the other sites\n",
               site);
  Model& model = *examined.loaded.model;
  if (!o.data.empty() && !examined.loaded.complete)
    fail(Fault::kUsage,
         "--data: the network's scales and shifts come from a passport that is not this one, so "
         "that its accuracy cannot be measured; its bits can: leave out --data");
  verify::ExamineOptions examine = o.examine;
  train::Dataset data;
  if (!o.data.empty()) {
    data = test_set(o.data, o.limit_test, model, examined.loaded.normalisation);
    examine.data = &data;
  }
  const verify::Claim claim = verify::examine(model, *examined.passport, examine);
  if (o.json) {
    Json json = claim_json(claim);
    json["examined"] = examined_json(&examined);
    json["examined"]["data"] = data_json(o.data, o.limit_test);
    print_json(json);
  } else {
    fmt::print("{}", claim_text(claim, data.noun()));
  }
  return exit_code(claim.verdict);
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "verify", "Does this passport belong to this network? Does it know these triggers?");
  auto o = std::make_shared<VerifyOptions>();
  o->command = command;
  o->model.add_to(*command, false);
  command->get_option("model")->required(false);
  OptionTable options(*command);
  options.text("data", o->data,
               fmt::format("test set for the branches' accuracy: {}", kDataForms).c_str(), "SPEC");
  options.integer("limit-test", o->limit_test, "only the first N for tests; 0 = all", 0, kMany);
  options.integer("null", o->examine.null_passports, "random passports to compare with", 0,
                  1'000'000);
  options.integer("null-images", o->examine.null_images, "images or clouds for each of them", 1,
                  kMany);
  options.integer("tests", o->examine.tests,
                  "claims tried so far, this one included: corrects log2 p", 1, int64_t{1} << 40);
  options.integer("seed", o->examine.seed, "of the random passports and decoys", 0,
                  std::numeric_limits<int64_t>::max());
  options.call_flag("json", o->json, "one JSON document on stdout");
  options.group("Black box");
  options.call_flag("black-box", o->black_box,
                    "the network is asked, not opened: its answers on triggers are examined");
  options.text("triggers", o->triggers,
               "as train takes them: a folder of pictures or .npy clouds, or a second data set and "
               "how many of it",
               "DIR|SPEC#COUNT");
  options.text("owner-file", o->owner_file,
               "the triggers' secret: shows that labels could not be chosen", "FILE");
  options.text("predictions", o->predictions,
               "in place of the model: CSV with the columns file, label", "FILE");
  options.text("decoy-predictions", o->decoy_predictions,
               "the same on things of their kind that are no triggers", "FILE");
  options.integer("classes", o->classes, "of --predictions; 0: those that labels are bound to", 0,
                  train::kMaxTriggerClasses);
  options.integer("decoys", o->decoys, "how many such things are shown to a model; 0 = none", 0,
                  1'000'000);
  o->machine.add_to(*command);
  command->footer(
      "Exit code: 0 supported, 9 inconclusive, 1 not supported.\n"
      "Examples:\n"
      "  passnorm verify runs/a --passport runs/a/owner.passport --data cifar10:data\n"
      "  passnorm verify suspect.safetensors --black-box --triggers t --owner-file t.owner\n"
      "  passnorm verify --black-box --triggers t --owner-file t.owner --predictions answers.csv");
  command->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
