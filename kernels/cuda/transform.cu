#include "kernels/cuda/gpu.cuh"
#include "kernels/transform_common.hpp"

namespace passnorm::kernels {
namespace {

constexpr int kTile = 32, kTileRows = 8;  // of threads: each moves kTile / kTileRows elements

/// y[b, j, i] = x[b, i, j] for i < rows and j < columns, a tile per block: both sides are read and
/// written along their fast dimension.
__global__ void __launch_bounds__(kTile* kTileRows)
    transpose_kernel(int rows, int columns, const float* x, float* y) {
  __shared__ gpu::Shared<float, kTile*(kTile + 1)> tile;  // one more: columns meet no bank twice
  const int across = (columns + kTile - 1) / kTile, down = (rows + kTile - 1) / kTile;
  const int first_column = static_cast<int>(blockIdx.x) % across * kTile;
  const int first_row = static_cast<int>(blockIdx.x) / across % down * kTile;
  const int64_t offset = int64_t{static_cast<int>(blockIdx.x) / across / down} * rows * columns;
  const int tx = static_cast<int>(threadIdx.x), ty = static_cast<int>(threadIdx.y);
#pragma unroll
  for (int k = ty; k < kTile; k += kTileRows) {
    const int i = first_row + k, j = first_column + tx;
    if (i < rows && j < columns) tile[k * (kTile + 1) + tx] = x[offset + int64_t{i} * columns + j];
  }
  __syncthreads();
#pragma unroll
  for (int k = ty; k < kTile; k += kTileRows) {
    const int i = first_row + tx, j = first_column + k;
    if (i < rows && j < columns) y[offset + int64_t{j} * rows + i] = tile[tx * (kTile + 1) + k];
  }
}

void transpose(CudaStream& stream, int64_t batch, int64_t rows, int64_t columns,
               std::span<const float> x, std::span<float> y) {
  check_transpose(batch, rows, columns, x, y);
  if (x.empty()) return;
  const int64_t tiles = batch * gpu::ceil_div(rows, kTile) * gpu::ceil_div(columns, kTile);
  PASSNORM_CHECK(tiles <= INT32_MAX && rows < INT32_MAX - kTile && columns < INT32_MAX - kTile,
                 batch, " x ", rows, " x ", columns, " elements are too many for one launch");
  gpu::launch(stream, transpose_kernel, dim3(static_cast<unsigned>(tiles)), dim3(kTile, kTileRows),
              0, static_cast<int>(rows), static_cast<int>(columns), x.data(), y.data());
}

}  // namespace

void to_channels_last(CudaStream& stream, const Permute& a) {
  transpose(stream, a.b, a.c, a.s, a.x, a.y);
}
void to_channels_first(CudaStream& stream, const Permute& a) {
  transpose(stream, a.b, a.s, a.c, a.x, a.y);
}

}  // namespace passnorm::kernels
