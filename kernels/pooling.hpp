// Pooling over positions, channels last.
#pragma once

#include <span>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

struct PoolGeometry {
  int64_t n = 1, h = 1, w = 1, c = 1;
  int64_t size = 2, stride = 2, pad = 0;
  int64_t oh() const { return (h + 2 * pad - size) / stride + 1; }
  int64_t ow() const { return (w + 2 * pad - size) / stride + 1; }
};

/// y = maximum over size x size windows; of equal values the first in row-major order wins. NaN
/// wins over numbers.
struct MaxPoolForward {
  PoolGeometry geometry;
  ConstView x;  ///< [N, H, W, C]
  View y;       ///< [N, OH, OW, C]
  std::span<uint8_t>
      argmax;  ///< [N, OH, OW, C]: position in the window, row-major; window of at most 256
};
void max_pool_forward(CpuStream& stream, const MaxPoolForward& a);
void max_pool_forward(CudaStream& stream, const MaxPoolForward& a);

struct MaxPoolBackward {
  PoolGeometry geometry;
  ConstView dy;                     ///< [N, OH, OW, C]
  std::span<const uint8_t> argmax;  ///< from forward
  View dx;                          ///< [N, H, W, C]
  bool accumulate = false;          ///< add to dx
};
void max_pool_backward(CpuStream& stream, const MaxPoolBackward& a);
void max_pool_backward(CudaStream& stream, const MaxPoolBackward& a);

/// y [N, C] = mean (or maximum) over S positions of x [N, S, C].
struct GlobalPoolForward {
  int64_t n = 1, s = 1, c = 1;
  ConstView x;                  ///< [N, S, C]
  View y;                       ///< [N, C]
  std::span<int32_t> argmax{};  ///< [N, C]: empty for the mean; the first of equal values wins
};
void global_mean_forward(CpuStream& stream, const GlobalPoolForward& a);
void global_mean_forward(CudaStream& stream, const GlobalPoolForward& a);
void global_max_forward(CpuStream& stream, const GlobalPoolForward& a);
void global_max_forward(CudaStream& stream, const GlobalPoolForward& a);

struct GlobalPoolBackward {
  int64_t n = 1, s = 1, c = 1;
  ConstView dy;                       ///< [N, C]
  std::span<const int32_t> argmax{};  ///< from forward; empty for the mean
  View dx;                            ///< [N, S, C]
  bool accumulate = false;            ///< add to dx
};
void global_mean_backward(CpuStream& stream, const GlobalPoolBackward& a);
void global_mean_backward(CudaStream& stream, const GlobalPoolBackward& a);
void global_max_backward(CpuStream& stream, const GlobalPoolBackward& a);
void global_max_backward(CudaStream& stream, const GlobalPoolBackward& a);

}  // namespace passnorm::kernels
