// Copies that fit a matrix to what cuDNN's fast engines want: channels in multiples of 16 bytes,
// one type, aligned memory.
#pragma once

#include "kernels/convolution.hpp"
#include "kernels/runtime/cuda_stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// y[r, c] = x[r, c], converted to y's type; 0 where x has no such row or channel. x and y may have
/// more or fewer rows and channels than each other.
struct CopyChannels {
  int64_t x_rows = 0, x_channels = 0;
  int64_t y_rows = 0, y_channels = 0;
  ConstView x;              ///< [x_rows, x_channels]
  View y;                   ///< [y_rows, y_channels]
  bool accumulate = false;  ///< add to y
};
void copy_channels(CudaStream& stream, const CopyChannels& a);

/// The convolution with zero channels added to x and y until their rows are multiples of 16 bytes.
inline ConvGeometry padded(ConvGeometry g, DType type) {
  const auto multiple = static_cast<int64_t>(16 / size_of(type));
  g.c = (g.c + multiple - 1) / multiple * multiple;
  g.o = (g.o + multiple - 1) / multiple * multiple;
  return g;
}

}  // namespace passnorm::kernels
