#include <cmath>

#include "kernels/cuda/block.cuh"
#include "kernels/orthogonality_common.hpp"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

constexpr int kMost = static_cast<int>(OrthogonalityLoss::kMaxSize);
constexpr int kSide = 16, kThreads = kSide * kSide, kEach = kMost / kSide;
constexpr int kStride = kMost + 1;  // rows of one column stand in different banks

using Matrix = gpu::Shared<float, kMost * kStride>;

struct OrthogonalityArguments {
  int64_t rows;
  int size;
  const float* t;
  bool times_gram;
  float alpha, weight;
  DeviceValue<float> loss_scale;
  float* loss;
  float* dt;  // or null
  bool accumulate;
  float* norms;       // [lanes, N]
  unsigned* tickets;  // [lanes]
};

/// Calls f(row, column, sum over k of left(row, k) right(k, column)) for the elements of a size x
/// size product that are this thread's: every 16th of every 16th row.
template <class Left, class Right, class F>
__device__ __forceinline__ void multiply(int size, const Left& left, const Right& right,
                                         const F& f) {
  const int first_row = static_cast<int>(threadIdx.x) / kSide;
  const int first_column = static_cast<int>(threadIdx.x) % kSide;
  float sum[kEach][kEach] = {};
  for (int k = 0; k < size; ++k) {
    float l[kEach], r[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {  // past the end: the last, for sums that nobody takes
      l[i] = left(min(first_row + i * kSide, size - 1), k);
      r[i] = right(k, min(first_column + i * kSide, size - 1));
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i)
#pragma unroll
      for (int j = 0; j < kEach; ++j) sum[i][j] += l[i] * r[j];
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i)
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int row = first_row + i * kSide, column = first_column + j * kSide;
      if (row < size && column < size) f(row, column, sum[i][j]);
    }
}

/// x: transform of a lane; y: lane. The last block of a lane adds up the norms. Two blocks: ptxas
/// for sm_80 spills to make room for more.
__global__ void __launch_bounds__(kThreads, 2)
    orthogonality_kernel(const OrthogonalityArguments a) {
  __shared__ Matrix t, m;
  __shared__ gpu::Shared<float, gpu::exchange_size(1, 1, kThreads)> exchange;
  __shared__ gpu::Shared<float, 1> shared_norm;
  const int size = a.size, thread = static_cast<int>(threadIdx.x);
  const int64_t at = (blockIdx.y * a.rows + blockIdx.x) * size * size;
  for (int e = thread; e < size * size; e += kThreads)
    t[e / size * kStride + e % size] = a.t[at + e];
  __syncthreads();

  float squares[1] = {};
  multiply(
      size, [&](int row, int k) { return t[row * kStride + k]; },
      [&](int k, int column) { return t[column * kStride + k]; },
      [&](int row, int column, float gram) {
        const float identity = row == column ? 1.0f : 0.0f;
        const float v = gram - (a.times_gram ? t[row * kStride + column] : identity);
        m[row * kStride + column] = v;
        squares[0] += v * v;
      });
  gpu::merge_rows(squares, 1, kThreads, &exchange[0], gpu::AddFloats());
  if (thread == 0) {
    shared_norm[0] = sqrtf(squares[0]);
    a.norms[blockIdx.y * a.rows + blockIdx.x] = shared_norm[0];
  }
  __syncthreads();

  if (a.dt != nullptr) {  // G = m / norm: dt = (G + G') t, and -G more where m is t t' - t
    const float norm = shared_norm[0];
    const float scale = a.alpha * a.weight * a.loss_scale.get() / static_cast<float>(a.rows);
    const float factor = norm == 0 ? 0.0f : scale / norm;
    multiply(
        size, [&](int row, int k) { return m[row * kStride + k] + m[k * kStride + row]; },
        [&](int k, int column) { return t[k * kStride + column]; },
        [&](int row, int column, float v) {
          if (a.times_gram) v -= m[row * kStride + column];
          float* to = a.dt + at + row * size + column;
          *to = a.accumulate ? *to + factor * v : factor * v;
        });
  }

  if (!gpu::is_last_block(a.tickets + blockIdx.y, gridDim.x)) return;
  float sum[1] = {};
  for (int64_t n = thread; n < a.rows; n += kThreads) sum[0] += a.norms[blockIdx.y * a.rows + n];
  gpu::merge_rows(sum, 1, kThreads, &exchange[0], gpu::AddFloats());
  if (thread == 0) a.loss[blockIdx.y] = a.alpha * sum[0] / static_cast<float>(a.rows);
}

}  // namespace

void orthogonality_loss(CudaStream& stream, const OrthogonalityLoss& a) {
  check(a);
  PASSNORM_CHECK(a.lanes <= CudaStream::kTickets && a.rows <= INT32_MAX, a.lanes, " lanes of ",
                 a.rows, " transforms are too many for one launch");
  const Scratch<float> norms(stream, a.lanes * a.rows);
  gpu::launch(stream, orthogonality_kernel,
              dim3(static_cast<unsigned>(a.rows), static_cast<unsigned>(a.lanes)), dim3(kThreads),
              0,
              OrthogonalityArguments{.rows = a.rows,
                                     .size = static_cast<int>(a.size),
                                     .t = a.t.data(),
                                     .times_gram = a.form == OrthogonalityForm::kTimesGram,
                                     .alpha = a.alpha,
                                     .weight = a.weight,
                                     .loss_scale = a.loss_scale,
                                     .loss = a.loss.data(),
                                     .dt = a.dt.data(),
                                     .accumulate = a.accumulate,
                                     .norms = norms.data(),
                                     .tickets = stream.tickets()});
}

}  // namespace passnorm::kernels
