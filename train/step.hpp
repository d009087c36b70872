// One training step's forward and backward: both branches in one forward, all losses, all
// gradients.
#pragma once

#include "engine/ops/ops.hpp"
#include "models/model.hpp"

namespace passnorm::train {

struct LossOptions {
  float label_smoothing = 0;
  ops::SignLossOptions sign;
};

struct GradientOptions {
  bool accumulate = false;                   ///< add to the model's gradients, else overwrite them
  DeviceValue<float> loss_scale = 1.0f;      ///< factor of all gradients
  std::optional<DropoutMasks> dropout = {};  ///< without it nothing is dropped
};

/// Results stay on the device until they are read.
struct StepResult {
  Var logits;              ///< [lanes N, classes]
  ops::LaneLosses losses;  ///< cross-entropy with what the model adds to it (Pass::losses), and
                           ///< hits, per lane
  ops::SignLosses signs;   ///< per site; without values when no passport branch ran
};

/// x [N, H, W, C] f32, bf16 or f16, the storage of all activations and their gradients; labels [N]
/// i32. The loss is the lanes' cross-entropies, what the model adds to them, and the sites' sign
/// losses. Updates running statistics (mode kTrain). to: losses and signs with values are written
/// there. Between begin and end the host waits for nothing.
StepResult forward_backward(Model& model, const OpenPassport* passport, const Tensor& x,
                            const Tensor& labels, Lanes lanes, const LossOptions& options,
                            const GradientOptions& gradient = {}, const StepResult& to = {});

/// Without gradients.
StepResult forward_only(Model& model, const OpenPassport* passport, const Tensor& x,
                        const Tensor& labels, Lanes lanes, Mode mode,
                        const LossOptions& options = {}, const StepResult& to = {});

/// Entries of LaneLosses for input of these lanes: the logits' parts.
int64_t loss_count(const Model& model, Lanes lanes);

}  // namespace passnorm::train
