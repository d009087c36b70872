#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/app.hpp"
#include "engine/io/safetensors.hpp"
#include "engine/io/text.hpp"

namespace passnorm::cli {
namespace {

struct Options {
  std::vector<std::string> paths;
};

int run(const Options& o) {
  for (const std::string& path : o.paths) {
    const SafeTensors file = SafeTensors::open(model_file(path));
    fmt::print("{}\n", file.name());
    for (const TensorInfo& t : file.tensors())
      fmt::print("  {:<40} {} {}\n", printable(t.name), name_of(t.dtype), fmt::join(t.shape, "x"));
  }
  return kYes;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("inspect", "What a file or run directory is");
  auto o = std::make_shared<Options>();
  command->add_option("path", o->paths, "files and run directories")
      ->required()
      ->type_name("FILE|DIR");
  command->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
