// How far a run is, and its numbers in a checkpoint.
#pragma once

#include "train/meter.hpp"

namespace passnorm::train {

/// How far a run is. With the arenas it is all that a checkpoint holds.
struct RunState {
  Position position;
  kernels::UpdateState update;  ///< of the optimiser: updates, loss_scale and good_steps
  int64_t skipped_in_a_row = 0;
  Meter meter;               ///< of the running epoch
  std::vector<double> bits;  ///< per site, of the last step
  EpochReport last;          ///< finished epoch
  double best_score = -1;
  EpochReport best;
};

/// All but the position, one after another. sites: passport sites of the model.
std::vector<double> numbers_of(RunState state, size_t sites);
/// Error(kInput), starting with `name`, when the numbers are not those of such a run.
RunState state_of(const std::string& name, const std::vector<double>& numbers, size_t sites);

}  // namespace passnorm::train
