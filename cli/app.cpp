#include "cli/app.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <new>

#include "cli/help.hpp"
#include "cli/options.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/machine.hpp"
#include "passnorm/version.hpp"
#include "train/batch.hpp"

namespace passnorm::cli {

namespace fs = std::filesystem;

void Machine::add_to(OptionTable& options) {
  options.group("Machine");
  options
      .text("device", device, "auto | cpu | cuda | cuda:N", "NAME",
            [](const std::string& name) { device_of(name); })
      .changes_nothing();
  options.integer("threads", threads, "CPU threads; 0 = all cores", 0, 4096).changes_nothing();
  options
      .integer("engines", engines,
               "GPU: cuDNN's engines timed for a convolution; 1 = its first, none timed", 1, 64)
      .changes_nothing();
}

void Machine::add_training_to(OptionTable& options) {
  options
      .flag("epilogue-statistics", epilogue_statistics,
            "GPU, 16 bits: convolutions sum their results for batch norm, where cuDNN can")
      .changes_nothing();
}

void Machine::add_to(CLI::App& command, bool training) {
  OptionTable options(command);
  add_to(options);
  if (training) add_training_to(options);
  options.from_environment();
}

std::shared_ptr<Stream> Machine::stream() const {
  const std::optional<Device> named = device_of(device);
  return make_stream(
      named ? *named : Device::best(),
      StreamOptions{
          .threads = threads, .engines = engines, .epilogue_statistics = epilogue_statistics});
}

std::string Machine::describe(const Stream& stream) const {
  const GpuReport report = gpu_report();
  const Device used = stream.device();
  if (used.kind == Device::Kind::kCuda)
    return fmt::format("{}, {}", used.name(), report.gpus.at(static_cast<size_t>(used.index)).name);
  const int count = static_cast<const CpuStream&>(stream).threads();
  std::string text = fmt::format("cpu, {} thread{}", count, count == 1 ? "" : "s");
  if (device == "auto" && !report.runtime.empty()) text += fmt::format(" ({})", why_cpu());
  return text;
}

std::optional<Device> device_of(const std::string& name) {
  if (name == "auto") return {};
  if (name == "cpu") return Device::cpu();
  if (name == "cuda") return Device::cuda();
  constexpr std::string_view kNumbered = "cuda:";
  int index = -1;
  const char* const end = name.data() + name.size();
  if (name.starts_with(kNumbered) && name.size() < kNumbered.size() + 4) {
    const auto [rest, error] = std::from_chars(name.data() + kNumbered.size(), end, index);
    if (error == std::errc() && rest == end && index >= 0) return Device::cuda(index);
  }
  fail(Fault::kUsage, "unknown device ", quote(name), "; known: auto, cpu, cuda, cuda:N");
}

void ModelArgument::add_to(CLI::App& command, bool passport_required) {
  command.add_option("model", path, "run directory, or model file (.safetensors)")
      ->required()
      ->type_name("DIR|FILE");
  CLI::Option* option =
      command.add_option("--passport", passport, "the owner's passport file")->type_name("FILE");
  if (passport_required) option->required();
  passphrase.add_to(command);
}

std::string model_file(const std::string& path) {
  std::error_code error;  // what cannot be looked at is refused when it is read
  return fs::is_directory(path, error) ? (fs::path(path) / "model.safetensors").string() : path;
}

ModelArgument::Opened ModelArgument::open(std::shared_ptr<Stream> stream) const {
  Opened opened;
  if (!passport.empty()) opened.passport = Passport::load(passport, passphrase.asker());
  const std::string file = model_file(path);
  opened.loaded =
      models::load_released(file, opened.passport ? &*opened.passport : nullptr, std::move(stream));
  return opened;
}

train::Dataset test_set(const std::string& spec, int64_t limit, const Model& model,
                        const models::InputNormalisation& normalisation) {
  train::Dataset set = train::load(train::parse_data_spec(spec), train::Split::kTest, limit);
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
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_version_flag(
      "--version",
      fmt::format("passnorm {} ({}, {}, {})", kVersion, kCommit, kCompiler, kBuildType),
      "version, commit, compiler");
  app.set_help_flag("--help", "this text");
  app.require_subcommand(1);
  app.footer(
      "passnorm COMMAND --help explains a command and shows examples. With --json a\n"
      "command prints one JSON document; results go to stdout, progress to stderr.\n"
      "\n"
      "Exit codes: 0 yes or done, 1 the answer is no, 2 usage, 3 bad input file,\n"
      "4 this machine cannot, 5 out of memory or disk, 6 numerics gave up, 7 secret\n"
      "not opened, 9 inconclusive, 70 a bug of passnorm, 75 stopped on request.");
  Action action;
  // The headings of --help.
  const auto under = [&](const char* group,
                         std::initializer_list<void (*)(CLI::App&, Action&)> add) {
    const auto all = [&] { return app.get_subcommands([](CLI::App*) { return true; }); };
    const size_t before = all().size();
    for (const auto f : add) f(app, action);
    const auto commands = all();
    for (size_t i = before; i < commands.size(); ++i) commands[i]->group(group);
  };
  under("Start here", {add_demo, add_doctor});
  under("Networks", {add_data, add_train, add_eval, add_export, add_inspect});
  under("Ownership", {add_verify, add_attack, add_report});
#ifdef PASSNORM_BENCH
  under("Measuring", {add_bench});
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
    return complain(explain(app, e), static_cast<int>(Fault::kUsage));
  } catch (const Error& e) {
    return complain(e.what(), static_cast<int>(e.fault()));
  } catch (const std::bad_alloc&) {
    return complain("out of memory; use a smaller --batch", static_cast<int>(Fault::kMemory));
  } catch (const std::exception& e) {
    return complain(fmt::format("bug: {}", e.what()), static_cast<int>(Fault::kBug));
  }
}

}  // namespace passnorm::cli
