#include <fmt/format.h>

#include "cli/app.hpp"

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
  CLI::App* command = app.add_subcommand(
      "verify", "Does this passport belong to this network? Exit 0 yes, 9 inconclusive, 1 no");
  auto o = std::make_shared<Options>();
  o->model.add_to(*command, true);
  command
      ->add_option("--data", o->data, "test set for the branches' accuracy: cifar10:DIR, synthetic")
      ->type_name("SPEC");
  command->add_option("--limit-test", o->limit_test, "only the first N test images")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  command->add_option("--null", o->examine.null_passports, "random passports to compare with")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str()
      ->type_name("K");
  command->add_option("--null-images", o->examine.null_images, "test images for each of them")
      ->check(CLI::Range(1, 100000000))
      ->capture_default_str()
      ->type_name("N");
  command
      ->add_option("--tests", o->examine.tests,
                   "claims tried so far, this one included: corrects log2 p")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--seed", o->examine.seed, "of the random passports")
      ->capture_default_str()
      ->type_name("N");
  o->machine.add_to(*command);
  command->add_flag("--json", o->json, "one JSON document on stdout");
  command->footer(
      "Example: passnorm verify runs/a --passport runs/a/owner.passport --data cifar10:data");
  command->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
