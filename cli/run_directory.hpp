// The folder of a training run.
#pragma once

#include <filesystem>
#include <string>

#include "models/model.hpp"
#include "train/trainer.hpp"

namespace passnorm::cli {

/// model.safetensors, owner.passport, config.toml, metrics.jsonl, metrics.csv, checkpoints/.
class RunDirectory {
 public:
  explicit RunDirectory(std::string path) : path_(std::move(path)) {}

  std::string file(const char* name) const { return (path_ / name).string(); }
  bool holds(const char* name) const;
  bool has_checkpoints() const;

  /// For a new run: makes the folder. Error(kUsage) where an earlier run lies, unless overwrite,
  /// which removes it: a new passport never stands beside an old model.
  void start(bool overwrite) const;
  void write(const char* name, const std::string& text, mode_t mode = 0644) const;

  /// The epoch's line in both metrics files. Lines of this epoch and later ones, which a run left
  /// that was killed and is continued, go.
  void log(const train::EpochReport& report, const Model& model) const;

 private:
  void append(const char* name, const std::string& header, int64_t lines_before,
              const std::string& line) const;

  std::filesystem::path path_;
};

}  // namespace passnorm::cli
