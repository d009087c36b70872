#include "kernels/cuda/block.cuh"
#include "kernels/norm_sums.hpp"

namespace passnorm::kernels {
namespace {

using gpu::Shared;

constexpr int kThreads = 256;

template <class T>
struct FromSumsArguments {
  const T* x;         ///< [R, C]
  const float* sums;  ///< [2, C]
  int64_t rows, channels;
  float inverse;  ///< 1 / R
  float* mean;
  float* rstd;
  float* var;  ///< or null
  float eps;
};

/// The sum of what the threads of the block have, in all of them.
__device__ float sum_of_block(float mine, float* exchange) {
  float value[1] = {mine};
  gpu::merge_rows(value, 1, kThreads, exchange, gpu::AddFloats());
  if (threadIdx.x == 0) exchange[0] = value[0];
  __syncthreads();
  const float sum = exchange[0];
  __syncthreads();
  return sum;
}

/// A block for each channel. All its threads come to the same decision; those that measure again
/// read single elements, a channel apart: slow, and meant to be rare.
template <class T>
__global__ void __launch_bounds__(kThreads)
    norm_statistics_from_sums_kernel(const __grid_constant__ FromSumsArguments<T> a) {
  __shared__ Shared<float, gpu::exchange_size(1, 1, kThreads)> exchange;
  const int64_t c = blockIdx.x;
  float mean = a.sums[c] * a.inverse;
  float var = fmaf(-mean, mean, a.sums[a.channels + c] * a.inverse);
  if (mean * mean > kMostCondition * var) {
    const float origin = gpu::to_float(a.x[c]);  // near the mean: distances from it are small
    float sum = 0, square = 0;
    for (int64_t row = threadIdx.x; row < a.rows; row += kThreads)
      sum += gpu::to_float(a.x[row * a.channels + c]) - origin;
    const float offset = sum_of_block(sum, &exchange[0]) * a.inverse;
    for (int64_t row = threadIdx.x; row < a.rows; row += kThreads) {
      const float d = gpu::to_float(a.x[row * a.channels + c]) - origin - offset;
      square = fmaf(d, d, square);
    }
    mean = origin + offset;
    var = sum_of_block(square, &exchange[0]) * a.inverse;
  }
  if (threadIdx.x != 0) return;
  a.mean[c] = mean;
  a.rstd[c] = 1.0f / sqrtf(var + a.eps);
  if (a.var != nullptr) a.var[c] = var;
}

}  // namespace

void norm_statistics_from_sums(CudaStream& stream, const NormStatistics& a) {
  check_sums(a);
  const NormGeometry& g = a.geometry;
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    gpu::launch(stream, norm_statistics_from_sums_kernel<T>,
                dim3(static_cast<unsigned>(g.channels)), dim3(kThreads), 0,
                FromSumsArguments<T>{.x = a.x.as<T>(),
                                     .sums = a.sums.data(),
                                     .rows = g.rows,
                                     .channels = g.channels,
                                     .inverse = 1.0f / static_cast<float>(g.rows),
                                     .mean = a.mean.data(),
                                     .rstd = a.rstd.data(),
                                     .var = a.var.empty() ? nullptr : a.var.data(),
                                     .eps = a.eps});
  });
}

}  // namespace passnorm::kernels
