// Changes of layout at the edges (load, save, tests): NCHW <-> channels last.
#pragma once

#include <span>

#include "kernels/runtime/stream.hpp"

namespace passnorm::kernels {

/// y[b, s, c] = x[b, c, s]: from [B, C, S] (NCHW, OIHW) to channels last.
struct Permute {
  int64_t b = 1, c = 1, s = 1;
  std::span<const float> x;
  std::span<float> y;
};
void to_channels_last(CpuStream& stream, const Permute& a);
void to_channels_last(CudaStream& stream, const Permute& a);
/// y[b, c, s] = x[b, s, c]: back.
void to_channels_first(CpuStream& stream, const Permute& a);
void to_channels_first(CudaStream& stream, const Permute& a);

}  // namespace passnorm::kernels
