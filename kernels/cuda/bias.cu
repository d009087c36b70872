#include "kernels/cuda/bias.hpp"

#include <algorithm>

#include "kernels/cuda/gpu.cuh"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

using gpu::Shared;

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_bias_kernel(const float* bias, T* y, int64_t size, int64_t channels, bool relu) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < size;
       i += int64_t{gridDim.x} * kThreads) {
    float value = gpu::to_float(y[i]);
    if (bias != nullptr) value += bias[i % channels];
    if (relu && value <= 0) value = 0;  // NaN stays NaN
    y[i] = gpu::from_float<T>(value);
  }
}

// A block sums some rows of kColumns columns: thread (row, column) those at distance kRows of each
// other; sums of kRun terms are added to the sum, so that many rows lose few bits.
constexpr int kColumns = 32, kRows = kThreads / kColumns, kRun = 64;
constexpr int kMaxParts = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    bias_gradient_kernel(const T* dy, int64_t rows, int64_t channels, float* partial,
                         unsigned* tickets, float* dbias, bool accumulate) {
  const int column = static_cast<int>(threadIdx.x) % kColumns;
  const int row = static_cast<int>(threadIdx.x) / kColumns;
  const int64_t c = int64_t{blockIdx.x} * kColumns + column;
  const int64_t step = int64_t{gridDim.y} * kRows;
  float sum = 0;
  if (c < channels)
    for (int64_t begin = int64_t{blockIdx.y} * kRows + row; begin < rows; begin += kRun * step) {
      float run = 0;
      for (int k = 0; k < kRun && begin + k * step < rows; ++k)
        run += gpu::to_float(dy[(begin + k * step) * channels + c]);
      sum += run;
    }
  __shared__ Shared<float, kThreads> sums;
  __shared__ Shared<bool, 1> last;
  sums[static_cast<int>(threadIdx.x)] = sum;
  __syncthreads();
  if (row == 0 && c < channels) {
    for (int k = 1; k < kRows; ++k) sum += sums[k * kColumns + column];
    partial[blockIdx.y * channels + c] = sum;
    __threadfence();
  }
  __syncthreads();
  // The count goes back to zero with the last block.
  if (threadIdx.x == 0) last[0] = atomicInc(tickets + blockIdx.x, gridDim.y - 1) == gridDim.y - 1;
  __syncthreads();
  if (!last[0] || row != 0 || c >= channels) return;
  __threadfence();
  sum = 0;
  for (unsigned part = 0; part < gridDim.y; ++part) sum += __ldcg(partial + part * channels + c);
  dbias[c] = accumulate ? dbias[c] + sum : sum;
}

}  // namespace

void add_bias(CudaStream& stream, const AddBias& a) {
  PASSNORM_CHECK(a.y.size == a.rows * a.channels && (!a.bias || a.bias.size == a.channels),
                 "y has ", a.y.size, " elements, not [", a.rows, ",", a.channels, "], or the bias ",
                 a.bias.size);
  if (a.y.size == 0) return;
  const float* const bias = a.bias ? a.bias.as<float>() : nullptr;
  visit_storage(a.y.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t blocks = std::min<int64_t>(gpu::ceil_div(a.y.size, kThreads),
                                             int64_t{stream.multiprocessors()} * 16);
    gpu::launch(stream, add_bias_kernel<T>, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0,
                bias, a.y.as<T>(), a.y.size, a.channels, a.relu);
  });
}

void bias_gradient(CudaStream& stream, const BiasGradient& a) {
  PASSNORM_CHECK(a.dy.size == a.rows * a.channels && a.dbias.size == a.channels, "dy has ",
                 a.dy.size, " elements, not [", a.rows, ",", a.channels, "], or dbias ",
                 a.dbias.size);
  const int64_t columns = gpu::ceil_div(a.channels, kColumns);
  PASSNORM_CHECK(columns <= CudaStream::kTickets, a.channels, " channels");
  const int64_t parts = std::clamp<int64_t>(gpu::ceil_div(a.rows, kRows * kRun), 1, kMaxParts);
  const Scratch<float> partial(stream, parts * a.channels);
  visit_storage(a.dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    gpu::launch(stream, bias_gradient_kernel<T>,
                dim3(static_cast<unsigned>(columns), static_cast<unsigned>(parts)), dim3(kThreads),
                0, a.dy.as<T>(), a.rows, a.channels, partial.data(), stream.tickets(),
                a.dbias.as<float>(), a.accumulate);
  });
}

}  // namespace passnorm::kernels
