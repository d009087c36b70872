// Checkpoints: all that a run needs to go on, in one file that is whole or refused.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/safetensors.hpp"

namespace passnorm::train {

struct CheckpointOptions {
  std::string folder;  ///< made when missing; empty: no checkpoints
  int64_t keep = 2;    ///< the newest ones stay
  bool resume = false;
  /// What else the run depends on, beside all that fit sees (model, passport, images, options). A
  /// checkpoint with another fingerprint is refused.
  std::string fingerprint;
};

/// How far a run is: finished epochs, and finished steps of the one after them.
struct Position {
  int64_t epoch = 0;
  int64_t step = 0;
  auto operator<=>(const Position&) const = default;
};

struct Checkpoint {
  Position position;
  Metadata run;  ///< what the run was made with, by name: a resumed run has the same
  std::map<std::string, std::vector<float>> arenas;
  std::vector<double> numbers;  ///< counters, meters and reports, in the trainer's order
};

/// A safetensors file. Its last tensor, `checksum`, holds BLAKE2b-256 (32 bytes) of all bytes
/// before it.
std::vector<std::byte> checkpoint_bytes(const Checkpoint& checkpoint);
/// Error(kInput), starting with `name`, unless the checksum is right and the content a checkpoint.
Checkpoint parse_checkpoint(const std::string& name, std::vector<std::byte> bytes);

/// Checkpoints of one run: FOLDER/epoch-0003.safetensors after three epochs,
/// FOLDER/epoch-0003-step-000120.safetensors 120 steps later. They hold the owner's secret (gates,
/// statistics of the passport branch): mode 0600.
class CheckpointFolder {
 public:
  explicit CheckpointFolder(CheckpointOptions options) : options_(std::move(options)) {}

  bool enabled() const { return !options_.folder.empty(); }
  /// Before a new run. Error(kUsage) when checkpoints are there already.
  void start() const;
  /// Written whole or not at all; then removes all but the newest `keep`, the damaged ones that
  /// resume met, and those beyond this position.
  void save(const Checkpoint& checkpoint);
  /// The newest whole one, with a note for every damaged one in front of it. Error(kInput) when
  /// none is whole, Error(kUsage) when it belongs to another run.
  Checkpoint resume(const Metadata& run, const std::function<void(const std::string&)>& note);
  std::string path(const Position& position) const;

 private:
  CheckpointOptions options_;
  std::vector<Position> damaged_;
};

/// Removes the checkpoints of a folder, if there are any; nothing else.
void remove_checkpoints(const std::string& folder);

}  // namespace passnorm::train
