// What `passnorm train` is told, and the run that follows from it. The demo fills the same struct.
#pragma once

#include "cli/app.hpp"
#include "train/trainer.hpp"

namespace passnorm::cli {

struct TrainOptions {
  std::string model = "resnet18", data, normalise = "data", scheme = "pan", norm = "batch",
              sites = "last";
  bool residual_relu = false, key_batch_statistics = false;
  std::string passport = "random", pretrained, signature, signature_ascii;
  std::string optimizer = "sgd", schedule = "multistep:100,150", keep = "last";
  train::FitOptions fit;
  int64_t limit_train = 0, limit_test = 0;
  std::optional<uint64_t> seed;
  Machine machine;
  std::string out;
  bool overwrite = false;
  bool json = false;
};

struct TrainedRun {
  std::unique_ptr<Model> model;
  std::optional<Passport> passport;  ///< without for scheme none
  train::ImageSet test;
  train::EpochReport last;
  double seconds = 0;  ///< training, without evaluation
};

/// Trains, and writes OUT/model.safetensors, owner.passport, metrics.jsonl, metrics.csv and
/// config.toml. Progress goes to stderr: a bar on a terminal, else a line every few seconds.
TrainedRun run_training(const TrainOptions& options);

}  // namespace passnorm::cli
