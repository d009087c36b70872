// A convolution's bias where cuDNN does not take it.
#pragma once

#include "kernels/runtime/cuda_stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// y = y + bias, or relu of it
struct AddBias {
  int64_t rows = 0, channels = 0;
  ConstView bias{};  ///< [channels] f32, or empty
  View y;            ///< [rows, channels]
  bool relu = false;
};
void add_bias(CudaStream& stream, const AddBias& a);

/// dbias = the sums of dy's columns, in a fixed order.
struct BiasGradient {
  int64_t rows = 0, channels = 0;
  ConstView dy;             ///< [rows, channels]
  View dbias;               ///< [channels] f32
  bool accumulate = false;  ///< add to dbias
};
void bias_gradient(CudaStream& stream, const BiasGradient& a);

}  // namespace passnorm::kernels
