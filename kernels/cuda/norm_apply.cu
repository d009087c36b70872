#include "kernels/cuda/norm_apply.cuh"

namespace passnorm::kernels {
namespace {

constexpr int kThreads = 256;
/// Blocks on a multiprocessor: what the coefficients leave of its registers.
constexpr int blocks_of_processor(bool fork, Residual residual) {
  if (fork || residual == Residual::kNormalised) return 2;
  return residual == Residual::kAsItIs ? 3 : 4;
}

template <class T, int kWidth, bool kFork, Residual kResidual>
__global__ void __launch_bounds__(kThreads, blocks_of_processor(kFork, kResidual))
    norm_apply_kernel(const __grid_constant__ ApplyArguments<T> a) {
  using Rows = Applied<T, kWidth, kFork, kResidual>;
  constexpr int kUnroll = kFork && Rows::kAdds ? 2 : 4;
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kWidth;
  if (c >= a.channels) return;
  const int first_row = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
  const int stride = static_cast<int>(gridDim.y * blockDim.y);
  for (int64_t block = int64_t{blockIdx.z} * blockDim.z + threadIdx.z; block < a.blocks;
       block += int64_t{gridDim.z} * blockDim.z) {
    Rows applied;
    for (int l = 0; l < Rows::kLanes; ++l)
      coefficients(Rows::lane_of(a, block, l), a.groups, block, c, applied.multiplier[l],
                   applied.addend[l]);
    applied.prepare_residual(a, block, c);
    for (int row = first_row; row < a.rows; row += kUnroll * stride) {
      gpu::Chunk<T, kWidth> x[kUnroll], residual[kUnroll][Rows::kLanes];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        // Past the end the last row again: all loads are under way together.
        const int64_t at_row = block * a.rows + min(row + u * stride, a.rows - 1);
        x[u] = load_chunk_once<kWidth>(a.x + at_row * a.channels + c);
        if constexpr (Rows::kAdds) Rows::load_residual(a, at_row, c, residual[u]);
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (row + u * stride >= a.rows) break;
        applied.store(a, block * a.rows + row + u * stride, c, x[u], residual[u]);
      }
    }
  }
}

template <class T, int kWidth, bool kFork, Residual kResidual>
void apply(CudaStream& stream, const NormApply& s) {
  const NormGeometry& g = s.geometry;
  const int64_t columns = norm_columns(g.channels, kWidth);
  const NormWalk walk =
      norm_walk(g, gpu::ceil_div(g.channels, columns * kWidth), columns, kThreads,
                int64_t{blocks_of_processor(kFork, kResidual)} * stream.multiprocessors());
  gpu::launch(stream, norm_apply_kernel<T, kWidth, kFork, kResidual>, walk.grid, walk.block, 0,
              apply_arguments<T>(s));
}

}  // namespace

void norm_apply(CudaStream& stream, const NormApply& a) {
  check(a);
  visit_norm_apply(a, [&]<class T, int kWidth, bool kFork, Residual kResidual>() {
    apply<T, kWidth, kFork, kResidual>(stream, a);
  });
}

}  // namespace passnorm::kernels
