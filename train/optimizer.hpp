// Optimisers: the state behind kernels/optimizer.hpp, over all parameters of a model at once.
#pragma once

#include <string_view>
#include <vector>

#include "engine/nn/parameter.hpp"
#include "kernels/optimizer.hpp"

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

/// Changes the parameters that are trained (ParameterSet::train_only) when it is made.
class Optimizer {
 public:
  /// kernels::UpdateState as 4-byte elements.
  static constexpr int64_t kStateWords = sizeof(kernels::UpdateState) / sizeof(float);

  /// state: [kStateWords] f32, where kernels::UpdateState stands; empty: in memory of its own.
  Optimizer(Stream& stream, ParameterSet& parameters, const OptimizerOptions& options,
            const Tensor& state = {});

  /// One update, all on the device: the host waits for nothing. Changes nothing when the gradient
  /// or one of `losses` is NaN or infinite. Writes the 16-bit copy of the weights where one is
  /// kept.
  struct Update {
    DeviceValue<float> lr;
    float clip_norm = 0;                             ///< largest norm of the gradient; 0: any
    std::array<std::span<const float>, 2> losses{};  ///< that must be finite too
    int32_t growth_interval = 0;                     ///< of the loss scale (UpdateCheck)
  };
  void update(const Update& u);

  /// One update that is waited for. lr_factor: of the schedule. Returns the norm before clipping.
  struct Report {
    double gradient_norm = 0;
    bool skipped = false;
  };
  Report step(float lr_factor, float clip_norm = 0);

  /// On the device, and a copy that is waited for.
  kernels::UpdateState* device_state() const;
  kernels::UpdateState state() const;
  void set_state(const kernels::UpdateState& state);
  int64_t steps() const { return state().updates; }
  /// The moments (handles; those without elements are not in use).
  const Tensor& first_moment() const { return first_; }
  const Tensor& second_moment() const { return second_; }

 private:
  Stream& stream_;
  ParameterSet& parameters_;
  OptimizerOptions options_;
  /// A part of the arena: consecutive parameters that are trained.
  struct Stretch {
    int64_t begin, size;
  };
  std::vector<Stretch> stretches_;
  Tensor state_;
  Tensor first_, second_;  ///< moments, the arena's places
};

}  // namespace passnorm::train
