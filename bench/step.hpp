// The speed of whole training steps.
#pragma once

#include <string>
#include <vector>

#include "bench/timing.hpp"
#include "models/model.hpp"

namespace passnorm::bench {

struct StepBench {
  int64_t batch = 64;
  DType precision = DType::kF32;  ///< storage of activations: kF32, kBF16 or kF16
  Repetition repetition;
  /// Afterwards also forward, forward with backward, and the update, each alone.
  bool stages = false;
};

struct StepTimes {
  std::vector<double> seconds;  ///< per timed step, in order
  double median = 0;
  double images_per_second = 0;  ///< batch / median
  double forward = 0;            ///< median seconds in training mode without gradients; stages only
  double backward = 0;           ///< of forward and backward, less `forward`; stages only
  double optimizer = 0;          ///< median seconds of the update; stages only
  size_t launches = 0;           ///< kernels and copies of a step on a GPU
  size_t peak_bytes = 0;         ///< of the stream's memory
  /// FLOP of the convolutions of a step, forward and both gradients, as direct convolution counts
  /// them (Winograd's needs fewer), and per second as a share of the machine's arithmetic
  /// (Ceilings); 0: unknown.
  double flops = 0;
  double share = 0;
  std::string ceiling;
};

/// Augmentation-free training steps (forward of all branches, backward, SGD with momentum) on
/// random images.
StepTimes time_steps(Model& model, const StepBench& options);

}  // namespace passnorm::bench
