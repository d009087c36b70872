// The first half of norm_backward on the GPU.
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

}  // namespace passnorm::kernels
