// Normalisation, activation and max pooling in one pass.
#pragma once

#include <array>
#include <span>

#include "kernels/norm.hpp"
#include "kernels/pooling.hpp"

namespace passnorm::kernels {

/// y = max_pool(activation(norm(x))): to the bit what norm_apply and max_pool_forward give one
/// after the other on the same device, without the write and the read of the full-size result
/// between them. Backward: max_pool_backward with this argmax, then norm_backward, which finds the
/// sign of the activation from x; the full-size result is not needed.
struct NormPoolForward {
  NormGeometry norm;  ///< of x; a sample lies in one block
  PoolGeometry pool;  ///< of x
  int lanes = 1;      ///< and fork: as in NormApply
  bool fork = false;
  NormActivation activation = NormActivation::kRelu;  ///< or kIdentity
  ConstView x;                                        ///< [N, H, W, C] f32 | bf16 | f16
  std::array<NormLane, 2> lane{};
  View y;                     ///< [N, OH, OW, C], in a fork [2, N, OH, OW, C]
  std::span<uint8_t> argmax;  ///< as y: position in the window, row-major
};
void norm_pool_forward(CpuStream& stream, const NormPoolForward& a);
void norm_pool_forward(CudaStream& stream, const NormPoolForward& a);

/// Error(kBug) unless sizes fit; the functions above call it first.
void check(const NormPoolForward& a);

}  // namespace passnorm::kernels
