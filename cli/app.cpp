#include "cli/app.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <new>

#include "passnorm/version.hpp"
#include "train/batch.hpp"

namespace passnorm::cli {

namespace fs = std::filesystem;

void Machine::add_to(CLI::App& command) {
  command.add_option("--device", device, "auto | cpu")
      ->check(CLI::IsMember({"auto", "cpu"}))
      ->capture_default_str();
  command.add_option("--threads", threads, "CPU threads; 0 = all cores")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
}

std::shared_ptr<Stream> Machine::stream() const {
  return make_stream(device == "cpu" ? Device::cpu() : Device::best(), threads);
}

void ModelArgument::add_to(CLI::App& command, bool passport_required) {
  command.add_option("model", path, "run directory, or model file (.safetensors)")
      ->required()
      ->type_name("DIR|FILE");
  CLI::Option* option =
      command.add_option("--passport", passport, "the owner's passport file")->type_name("FILE");
  if (passport_required) option->required();
}

std::string model_file(const std::string& path) {
  std::error_code error;  // what cannot be looked at is refused when it is read
  return fs::is_directory(path, error) ? (fs::path(path) / "model.safetensors").string() : path;
}

ModelArgument::Opened ModelArgument::open(std::shared_ptr<Stream> stream) const {
  Opened opened;
  if (!passport.empty()) opened.passport = Passport::load(passport);
  const std::string file = model_file(path);
  opened.loaded =
      models::load_released(file, opened.passport ? &*opened.passport : nullptr, std::move(stream));
  return opened;
}

train::ImageSet test_set(const std::string& spec, int64_t limit, const Model& model,
                         const models::InputNormalisation& normalisation) {
  train::ImageSet set = train::load(train::parse_data_spec(spec), train::Split::kTest, limit);
  train::check_fits(set, model);
  train::normalise_as(set, normalisation);
  return set;
}

void print_json(const Json& json) { fmt::print("{}\n", dump_json("result", json, 2)); }

Json accuracy_json(const std::optional<train::Evaluation>& e) {
  const auto value = [](const std::optional<double>& v) { return v ? Json(*v) : Json(nullptr); };
  return {{"public", e ? value(e->public_accuracy) : Json(nullptr)},
          {"passport", e ? value(e->passport_accuracy) : Json(nullptr)}};
}

std::string percent(std::optional<double> fraction) {
  return fraction ? fmt::format("{:.2f}%", 100 * *fraction) : "-";
}

int run(int argc, char** argv) {
  CLI::App app{
      "passnorm: train networks that carry their owner's passport, and prove later who owns them"};
  app.set_version_flag("--version", fmt::format("passnorm {} ({}, {}, {})", kVersion, kCommit,
                                                kCompiler, kBuildType));
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 yes or done, 1 the answer is no, 2 usage, 3 bad input file, 4 this machine "
      "cannot, 5 out of\n"
      "memory or disk, 6 numerics gave up, 7 secret not opened, 9 inconclusive, 70 a bug of "
      "passnorm.");
  Action action;
  add_demo(app, action);
  add_train(app, action);
  add_eval(app, action);
  add_verify(app, action);
  add_export(app, action);
  add_inspect(app, action);
#ifdef PASSNORM_BENCH
  add_bench(app, action);
#endif
  const auto complain = [](std::string text, int code) {
    // One line, whatever the arguments and files that it quotes hold.
    std::ranges::replace_if(
        text, [](unsigned char c) { return std::iscntrl(c); }, ' ');
    fmt::print(stderr, "passnorm: {}\n", text);
    return code;
  };
  try {
    app.parse(argc, argv);
    const int code = action();
    if (std::fflush(stdout) != 0)
      return complain("the result could not be written to stdout",
                      static_cast<int>(Fault::kMemory));
    return code;
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    const auto commands = app.get_subcommands();  // those that were given
    return complain(fmt::format("{} (passnorm {}--help tells more)", e.what(),
                                commands.empty() ? "" : commands[0]->get_name() + " "),
                    static_cast<int>(Fault::kUsage));
  } catch (const Error& e) {
    return complain(e.what(), static_cast<int>(e.fault()));
  } catch (const std::bad_alloc&) {
    return complain("out of memory; use a smaller --batch", static_cast<int>(Fault::kMemory));
  } catch (const std::exception& e) {
    return complain(fmt::format("bug: {}", e.what()), static_cast<int>(Fault::kBug));
  }
}

}  // namespace passnorm::cli
