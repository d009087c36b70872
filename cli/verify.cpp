#include <fmt/format.h>

#include "cli/app.hpp"
#include "cli/options.hpp"

namespace passnorm::cli {
namespace {

struct Options {
  ModelArgument model;
  Machine machine;
  std::string data;
  int64_t limit_test = 0;
  verify::ExamineOptions examine;
  bool json = false;
};

int run(const Options& o) {
  const auto opened = o.model.open(o.machine.stream());
  Model& model = *opened.loaded.model;
  verify::ExamineOptions examine = o.examine;
  train::ImageSet data;
  if (!o.data.empty()) {
    data = test_set(o.data, o.limit_test, model, opened.loaded.normalisation);
    examine.data = &data;
  }
  const verify::Claim claim = verify::examine(model, *opened.passport, examine);
  if (o.json)
    print_json(claim_json(claim));
  else
    fmt::print("{}", claim_text(claim));
  return exit_code(claim.verdict);
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("verify", "Does this passport belong to this network?");
  auto o = std::make_shared<Options>();
  o->model.add_to(*command, true);
  OptionTable options(*command);
  options.text("data", o->data,
               "test set for the branches' accuracy: cifar10:DIR | cifar100:DIR | synthetic",
               "SPEC");
  options.integer("limit-test", o->limit_test, "only the first N test images; 0 = all", 0, kMany);
  options.integer("null", o->examine.null_passports, "random passports to compare with", 0,
                  1'000'000);
  options.integer("null-images", o->examine.null_images, "test images for each of them", 1, kMany);
  options.integer("tests", o->examine.tests,
                  "claims tried so far, this one included: corrects log2 p", 1, int64_t{1} << 40);
  options.integer("seed", o->examine.seed, "of the random passports", 0,
                  std::numeric_limits<int64_t>::max());
  options.call_flag("json", o->json, "one JSON document on stdout");
  o->machine.add_to(*command);
  command->footer(
      "Exit code: 0 supported, 9 inconclusive, 1 not supported.\n"
      "Example: passnorm verify runs/a --passport runs/a/owner.passport --data cifar10:data");
  command->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
