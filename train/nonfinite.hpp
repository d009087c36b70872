// Where numbers stopped being finite.
#pragma once

#include <string>

#include "train/batch.hpp"
#include "train/step.hpp"

namespace passnorm::train {

/// After a step whose loss or gradient is NaN or infinite: the first weight, raw scale and layer
/// input (in forward order) that is not finite, and the parameters between which gradients are not.
/// Repeats the forward pass on the batch: running statistics change.
std::string describe_nonfinite(Model& model, const OpenPassport* passport, const Batch& batch,
                               Lanes lanes);

/// Error(kNumerics) when weights or running statistics are NaN or infinite: how many, and the first
/// tensor. when: "after epoch 3".
void require_finite(Model& model, const std::string& when);

}  // namespace passnorm::train
