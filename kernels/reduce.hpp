// Reductions over flat memory, in a fixed order.
#pragma once

#include <span>

#include "kernels/runtime/stream.hpp"

namespace passnorm::kernels {

/// sum of x^2 in double, the same bits for any number of threads.
double sum_squares(CpuStream& stream, std::span<const float> x);
double sum_squares(CudaStream& stream, std::span<const float> x);

/// How many elements are NaN or infinite.
int64_t count_nonfinite(CpuStream& stream, std::span<const float> x);
int64_t count_nonfinite(CudaStream& stream, std::span<const float> x);

}  // namespace passnorm::kernels
