// Dropout (Srivastava et al., JMLR 2014), with a mask that is a function of its number alone:
// nothing is kept for backward.
#pragma once

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// y = m x with m = 0 where the element is dropped, else 1 / (1 - probability). Element k of every
/// part is dropped when word k of (seed, kDropout, step, layer) is below 2^32 probability. The
/// gradient is the same function: dx from dy.
struct Dropout {
  int64_t parts = 1;      ///< of equal size, with one mask (lanes)
  ConstView x;            ///< [parts, n] f32 | bf16 | f16
  View y;                 ///< [parts, n], the type of x
  float probability = 0;  ///< in [0, 1)
  uint64_t seed = 0;
  DeviceValue<uint32_t> step = 0u;  ///< number of the training step
  uint32_t layer = 0;               ///< which of the network's dropouts
  bool accumulate = false;          ///< add to y
};
void dropout(CpuStream& stream, const Dropout& a);
void dropout(CudaStream& stream, const Dropout& a);

}  // namespace passnorm::kernels
