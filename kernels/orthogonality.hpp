// The loss that keeps PointNet's feature transform near an orthogonal matrix (Qi et al., CVPR 2017,
// equation 2).
#pragma once

#include <span>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// What is to vanish for a transform T.
enum class OrthogonalityForm {
  kGram,       ///< T T' - I
  kTimesGram,  ///< T (T' - I): what common implementations compute, by their operator precedence;
               ///< also 0 at T = 0
};

/// loss[l] = alpha * mean over the lane's transforms of the Frobenius norm of the form;
/// dt = weight * loss_scale * d(sum_l loss[l]) / dt, 0 where the norm is 0. Sums have an order that
/// the sizes alone fix.
struct OrthogonalityLoss {
  static constexpr int64_t kMaxSize = 64;
  int64_t lanes = 1;         ///< transforms are in equal consecutive parts, one per lane
  int64_t rows = 0;          ///< N per lane
  int64_t size = 0;          ///< J, at most kMaxSize
  std::span<const float> t;  ///< [lanes, N, J, J]
  OrthogonalityForm form = OrthogonalityForm::kGram;
  float alpha = 1e-3f;
  float weight = 1;                      ///< factor of the gradient
  DeviceValue<float> loss_scale = 1.0f;  ///< likewise
  std::span<float> loss;                 ///< [lanes]
  std::span<float> dt{};                 ///< [lanes, N, J, J]; empty = not wanted
  bool accumulate = false;               ///< add to dt
};
void orthogonality_loss(CpuStream& stream, const OrthogonalityLoss& a);
void orthogonality_loss(CudaStream& stream, const OrthogonalityLoss& a);

}  // namespace passnorm::kernels
