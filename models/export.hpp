// The public network in other forms: with its batch norm folded into the convolutions, and under
// torchvision's names.
#pragma once

#include "models/model_file.hpp"

namespace passnorm::models {

/// Evaluation mode's batch norm is an affine of every channel; it becomes part of the convolution
/// before it:
///   w'[o] = w[o] s[o],  b'[o] = beta[o] - mean[o] s[o],  s[o] = gamma[o] / sqrt(var[o] + eps)
/// in f64, rounded once. gamma, beta, mean and var are the public branch's; those of deepipr-v1,
/// which has none, are its passport's scale and shift. passport: for deepipr-v1, else null. The
/// result computes the same function (ModelOptions::folded).
///
/// Signature. Raw scales are linear in the weights of a channel: the folded network's are s[o]
/// times the original's. Their signs stand where gamma > 0, are reversed where gamma < 0 and gone
/// where gamma = 0: a claim on a folded copy is examined like any other, with as many bits wrong as
/// gammas are not positive. With deepipr-v1 gamma is the raw scale itself: the folded one is its
/// square, without a sign, and a folded copy can no longer be examined.
///
/// Error(kUsage) unless the norm is batch and not folded yet, and for a network with linear layers
/// before norms (pointnet), whose raw scales have a bias in them; Error(kSecret) for deepipr-v1
/// without its passport; Error(kNumerics) when a result is not finite.
std::unique_ptr<Model> fold(const Model& model, const Passport* passport);

/// save_released of the folded network; load_released reads it.
void save_folded(const Model& model, const Passport* passport, const std::string& path,
                 const InputNormalisation& normalisation);

/// The names, shapes and order of torchvision's ResNet (0.14 and others): resnet18 as
/// torchvision.models.resnet18(num_classes=K), resnet9 as ResNet(BasicBlock, [1, 1, 1, 1],
/// num_classes=K), both with the stem of small images:
///   net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False); net.maxpool = torch.nn.Identity()
/// load_state_dict takes the tensors with strict=True. Metadata: format pt, architecture, classes,
/// mean and std of the input.
///
/// Error(kUsage) for a network that torchvision's class does not compute: another architecture,
/// another norm, residual_relu, folded; Error(kSecret) and passport as above.
void save_torchvision(const Model& model, const Passport* passport, const std::string& path,
                      const InputNormalisation& normalisation);

}  // namespace passnorm::models
