// What `passnorm train` is told, and the run that follows from it. The demo fills the same struct.
#pragma once

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "train/trainer.hpp"

namespace passnorm::cli {

struct TrainOptions {
  std::string model = "resnet18", data, normalise = "data", scheme = "pan", norm = "batch",
              sites = "last";
  bool residual_relu = false, key_batch_statistics = false;
  std::string orthogonality = "gram";
  std::string passport = "random", pretrained, signature, signature_ascii;
  std::string secret;  ///< seed | random; empty: seed where one is given
  std::string triggers;
  std::string optimizer = "sgd", schedule = "multistep:100,150", keep = "last", precision = "f32";
  train::FitOptions fit;
  int64_t limit_train = 0, limit_test = 0;
  std::optional<uint64_t> seed;
  Machine machine;
  std::string out;
  std::string config;
  bool overwrite = false, resume = false, dry_run = false, json = false;
  bool seal = false;  ///< the passport, with a passphrase
  PassphraseArgument passphrase;
};

/// Declares the options of a training run.
void add_train_options(OptionTable& options, TrainOptions& to);

/// The settings of a configuration file with this text, over the defaults. Depends on its arguments
/// only. Error(kUsage), one line that starts with NAME:line:column.
TrainOptions train_options_of(std::string_view name, std::string_view text);

/// Data, and the network with its initial weights.
struct TrainingSetup {
  train::Dataset data, test;
  std::optional<train::Dataset> triggers;
  std::unique_ptr<Model> model;
};

/// Checks and resolves the options (seed, secret, and what `fit` takes from their names), loads and
/// builds.
TrainingSetup set_up(TrainOptions& options);

struct TrainedRun {
  std::unique_ptr<Model> model;
  std::optional<Passport> passport;  ///< without for scheme none
  train::Dataset test;
  train::EpochReport last;  ///< of the epoch whose weights the model has
  double seconds = 0;       ///< training, without evaluation
};

/// Trains, and writes OUT/model.safetensors, owner.passport, metrics.jsonl, metrics.csv,
/// config.toml and checkpoints/. Progress goes to stderr: a bar on a terminal, else a line every
/// few seconds. SIGINT and SIGTERM end the run after its step: a checkpoint is saved, then
/// Error(kStopped).
TrainedRun run_training(TrainOptions options);

/// Empty, or why no claim with a passport of the network's sites could be supported: verify's rule
/// for so few bits.
std::string why_undecidable(const Model& model);

/// What a run would be, on stdout. Writes nothing.
void describe_training(TrainOptions& options, const OptionTable& table);

}  // namespace passnorm::cli
