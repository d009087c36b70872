// Optimisers: the state behind kernels/optimizer.hpp, over all parameters of a model at once.
#pragma once

#include <string_view>

#include "engine/nn/parameter.hpp"

namespace passnorm::train {

struct OptimizerOptions {
  enum class Kind { kSgd, kAdam } kind = Kind::kSgd;
  float lr = 0.01f;
  float momentum = 0.9f;  ///< SGD
  bool nesterov = false;  ///< SGD
  float weight_decay = 5e-4f;
  float beta1 = 0.9f;  ///< Adam
  float beta2 = 0.999f;
  float eps = 1e-8f;
};

/// sgd | adam; Error(kUsage) for others.
OptimizerOptions::Kind optimizer_kind(std::string_view name);

class Optimizer {
 public:
  Optimizer(Stream& stream, ParameterSet& parameters, const OptimizerOptions& options);

  /// One update. lr_factor: of the schedule; clip_norm: largest norm of the whole gradient, 0 for
  /// none. Returns the norm before clipping. A gradient that is not finite changes nothing.
  struct Report {
    double gradient_norm = 0;
    bool skipped = false;
  };
  Report step(float lr_factor, float clip_norm = 0);

  int64_t steps() const { return steps_; }
  /// Of a checkpoint: the moments (handles; those without elements are not in use) and the count.
  const Tensor& first_moment() const { return first_; }
  const Tensor& second_moment() const { return second_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 private:
  Stream& stream_;
  ParameterSet& parameters_;
  OptimizerOptions options_;
  int64_t steps_ = 0;
  Tensor first_, second_;  ///< moments, the arena's places
};

}  // namespace passnorm::train
