// The parts of norm_backward on the GPU.
#pragma once

#include "kernels/norm.hpp"

namespace passnorm::kernels {

/// dx = sum over lanes of rstd scale g + slope x + constant: what comes of mean and rstd.
struct NormTerms {
  float* slope = nullptr;     ///< [B, G], or null: not wanted
  float* constant = nullptr;  ///< [B, G], or null
};

/// Sums over x and dy: writes the terms, and dscale and dshift of `a`.
void norm_backward_reduce(CudaStream& stream, const NormBackward& a, const NormTerms& terms);

/// Whether gradients of a scale or shift are.
inline bool wants_affine(const NormBackward& a) {
  bool any = false;
  for (size_t l = 0; l < static_cast<size_t>(a.lanes); ++l)
    any |= !a.dscale[l].empty() || !a.dshift[l].empty();
  return any;
}

/// NormVariant::kOneRead, where it fits.
void norm_backward_in_one_read(CudaStream& stream, const NormBackward& a);

}  // namespace passnorm::kernels
