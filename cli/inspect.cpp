#include <fmt/format.h>

#include "cli/app.hpp"
#include "cli/describe.hpp"
#include "cli/options.hpp"

namespace passnorm::cli {
namespace {

struct Options {
  std::vector<std::string> paths;
  bool json = false;
};

int run(const Options& o) {
  Json all = Json::array();
  for (const std::string& path : o.paths) all.push_back(describe(path));
  if (o.json)
    print_json(all);
  else
    for (size_t i = 0; i < all.size(); ++i)
      fmt::print("{}{}", i > 0 ? "\n" : "", text_of_description(all[i]));
  return kYes;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "inspect", "What a file is: model, passport, checkpoint, run directory, any safetensors");
  auto o = std::make_shared<Options>();
  command->add_option("path", o->paths, "files and run directories")
      ->required()
      ->type_name("FILE|DIR");
  OptionTable(*command).call_flag("json", o->json, "one JSON document on stdout: an array");
  command->footer(
      "Never shows keys, bits or seeds.\n"
      "Examples:\n"
      "  passnorm inspect runs/a\n"
      "  passnorm inspect runs/a/model.safetensors suspect.safetensors --json");
  command->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
