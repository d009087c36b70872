// The speed of whole training steps.
#pragma once

#include <vector>

#include "models/model.hpp"

namespace passnorm::bench {

struct StepBench {
  int64_t batch = 64;
  int64_t steps = 0;  ///< timed; 0: as many as fit into `seconds`, at least 5
  double seconds = 10;
  int64_t warmup = 2;
};

struct StepTimes {
  std::vector<double> seconds;  ///< per timed step, in order
  double median = 0;
  double images_per_second = 0;  ///< batch / median
  size_t peak_bytes = 0;         ///< of the stream's memory
};

/// Augmentation-free training steps (forward of all branches, backward, SGD with momentum) on
/// random images.
StepTimes time_steps(Model& model, const StepBench& options);

}  // namespace passnorm::bench
