// What cuDNN is asked for.
#pragma once

#include <string>

#include "kernels/convolution.hpp"

namespace passnorm::kernels {

/// One convolution as cuDNN is told of it: tensors are channels-last and packed, sums of products
/// are f32. In f32 no engine is taken that rounds its inputs (TF32) or multiplies in another domain
/// (Winograd, FFT). Engines that may give other bits in another run are not taken in any type.
struct ConvProblem {
  enum class Operation { kForward, kBackwardData, kBackwardWeight };
  Operation operation = Operation::kForward;
  ConvGeometry geometry;
  DType type = DType::kF32;    ///< of the operands
  DType result = DType::kF32;  ///< of y, dx or dw
  bool bias = false;           ///< of y, [O] f32
  bool relu = false;           ///< of y
  bool sums = false;           ///< per channel the sum of y and that of its squares, each [O] f32

  std::string name() const;  ///< for messages, and the key of its plan
};

}  // namespace passnorm::kernels
