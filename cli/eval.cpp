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
  int64_t batch = 256;
  bool json = false;
};

int run(const Options& o) {
  const auto opened = o.model.open(o.machine.stream());
  Model& model = *opened.loaded.model;
  const train::Dataset data = test_set(o.data, o.limit_test, model, opened.loaded.normalisation);
  std::optional<OpenPassport> passport;
  if (opened.passport) passport = model.open(*opened.passport);
  const train::Evaluation e =
      train::evaluate(model, passport ? &*passport : nullptr, data, {.batch = o.batch});
  if (o.json) {
    const auto value = [](const std::optional<double>& v) { return v ? Json(*v) : Json(nullptr); };
    print_json({{"accuracy", accuracy_json(e)},
                {"loss", {{"public", value(e.public_loss)}, {"passport", value(e.passport_loss)}}},
                {"class_accuracy",
                 {{"public", value(e.public_class_accuracy)},
                  {"passport", value(e.passport_class_accuracy)}}},
                {"images", e.images},
                {"model", model.architecture().name}});
    return kYes;
  }
  const auto row = [&](const char* branch, const std::optional<double>& accuracy,
                       const std::optional<double>& of_classes, const std::optional<double>& loss) {
    if (accuracy)
      fmt::print("{:<9} accuracy {}   mean of classes {}   loss {:.4f}   on {} {}\n", branch,
                 percent(accuracy), percent(of_classes), *loss, e.images, data.noun());
  };
  row("public", e.public_accuracy, e.public_class_accuracy, e.public_loss);
  row("passport", e.passport_accuracy, e.passport_class_accuracy, e.passport_loss);
  return kYes;
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("eval", "Accuracy of a model's branches on a test set");
  auto o = std::make_shared<Options>();
  o->model.add_to(*command, false);
  OptionTable options(*command);
  options.text("data", o->data, kDataForms, "SPEC").required();
  options.integer("limit-test", o->limit_test, "only the first N for tests; 0 = all", 0, kMany);
  options.integer("batch", o->batch, "images or clouds at a time", 1, 65536);
  options.call_flag("json", o->json, "one JSON document on stdout");
  o->machine.add_to(*command);
  command->footer(
      "Example: passnorm eval runs/a --data cifar10:data --passport runs/a/owner.passport");
  command->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
