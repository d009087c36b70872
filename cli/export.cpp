#include <fmt/format.h>

#include "cli/app.hpp"

namespace passnorm::cli {
namespace {

struct Options {
  ModelArgument model;
  Machine machine;
  bool fold = false;
  std::string names, out;
  bool json = false;
};

int run(const Options& o) {
  if (o.fold == !o.names.empty())
    fail(Fault::kUsage, "export needs one of --fold and --names torchvision");
  fail(Fault::kUsage, "export: this version does not write ", o.fold ? "folded" : o.names,
       " files yet");
}

}  // namespace

void add_export(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("export", "Write the public network for other programs");
  auto o = std::make_shared<Options>();
  o->model.add_to(*command, false);
  command->add_flag("--fold", o->fold, "batch norm folded into the convolutions");
  command->add_option("--names", o->names, "under another program's tensor names")
      ->check(CLI::IsMember({"torchvision"}));
  command->add_option("--out", o->out, "file to write")->required()->type_name("FILE");
  o->machine.add_to(*command);
  command->add_flag("--json", o->json, "one JSON document on stdout");
  command->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
