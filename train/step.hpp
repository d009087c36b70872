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

/// Results stay on the device until they are read.
struct StepResult {
  Var logits;              ///< [lanes N, classes]
  ops::LaneLosses losses;  ///< cross-entropy and hits per lane
  ops::SignLosses signs;   ///< per site; without values when no passport branch ran
};

/// x [N, H, W, C] f32 or bf16, the storage of all activations and their gradients; labels [N] i32.
/// The loss is the lanes' cross-entropies plus the sites' sign
/// losses. The model's gradients are overwritten, unless accumulate. Updates running statistics
/// (mode kTrain).
StepResult forward_backward(Model& model, const OpenPassport* passport, const Tensor& x,
                            const Tensor& labels, Lanes lanes, const LossOptions& options,
                            bool accumulate = false);

/// Without gradients.
StepResult forward_only(Model& model, const OpenPassport* passport, const Tensor& x,
                        const Tensor& labels, Lanes lanes, Mode mode,
                        const LossOptions& options = {});

}  // namespace passnorm::train
