// The program: every subcommand is one file that registers its options and leaves an action.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/passphrase.hpp"
#include "engine/io/json.hpp"
#include "models/model_file.hpp"
#include "train/evaluate.hpp"
#include "verify/examine.hpp"

namespace passnorm::cli {

/// Exit codes of answers; those of failures are Fault's values.
inline constexpr int kYes = 0;
inline constexpr int kNo = 1;
inline constexpr int kInconclusive = 9;

/// The whole program: parses, runs one command, turns every error into one line on stderr and its
/// exit code.
int run(int argc, char** argv);

using Action = std::function<int()>;
void add_train(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_attack(CLI::App& app, Action& action);
void add_report(CLI::App& app, Action& action);
void add_demo(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_export(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_data(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);

// --- shared by the commands

class OptionTable;

/// --device, --threads and --engines.
struct Machine {
  std::string device = "auto";
  int threads = 0;
  int engines = StreamOptions{}.engines;
  bool epilogue_statistics = false;
  void add_to(OptionTable& options);
  /// What only training steps use: --epilogue-statistics.
  void add_training_to(OptionTable& options);
  /// In a table of their own, with the environment.
  void add_to(CLI::App& command, bool training = false);
  /// Error(kMachine) for a GPU that is not there; auto falls back to the CPU, also where a GPU has
  /// not the libraries that it needs.
  std::shared_ptr<Stream> stream() const;
  /// "cuda:0, NVIDIA H100 80GB HBM3", or "cpu, 8 threads"; of a build for GPUs with the reason why
  /// auto chose it.
  std::string describe(const Stream& stream) const;
};

/// auto (none) | cpu | cuda | cuda:N; Error(kUsage) for other names.
std::optional<Device> device_of(const std::string& name);

/// A released model and, when given, its owner's passport.
struct ModelArgument {
  std::string path;      ///< a run directory or a file
  std::string passport;  ///< or empty
  PassphraseArgument passphrase;
  void add_to(CLI::App& command, bool passport_required);
  struct Opened {
    models::LoadedModel loaded;
    std::optional<Passport> passport;
  };
  Opened open(std::shared_ptr<Stream> stream) const;
};

/// The model file of a run directory, or the path itself.
std::string model_file(const std::string& path);

/// "alexnet | resnet18": of rows with names, for help texts.
template <class Rows>
std::string names_of(const Rows& rows) {
  std::string out;
  for (const auto& row : rows) out += (out.empty() ? "" : " | ") + std::string(row.name);
  return out;
}

/// The data sets that --data names, for help texts.
inline constexpr const char* kDataForms =
    "cifar10:DIR | cifar100:DIR | pictures:DIR | synthetic[:N=COUNT], of images; "
    "modelnet:DIR[:points=COUNT] | synthetic3d[:N=COUNT][:points=COUNT], of point clouds";

/// The test split of SPEC, normalised as the model expects.
train::Dataset test_set(const std::string& spec, int64_t limit, const Model& model,
                        const models::InputNormalisation& normalisation);

/// --json documents go to stdout, alone.
void print_json(const Json& json);
/// {"public": x | null, "passport": y | null}
Json accuracy_json(const std::optional<train::Evaluation>& evaluation);
/// 78.3% or -
std::string percent(std::optional<double> fraction);

/// The claim as the interface has it, and as a person reads it; noun: of what its accuracy was
/// measured on (Dataset::noun).
Json claim_json(const verify::Claim& claim);
std::string claim_text(const verify::Claim& claim, const char* noun);
int exit_code(verify::Verdict verdict);

}  // namespace passnorm::cli
