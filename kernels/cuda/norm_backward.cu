#include "kernels/cuda/norm_gradient.cuh"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksOfProcessor = 2;

template <class T, int kWidth, bool kFork, bool kMaskByY>
__global__ void __launch_bounds__(kThreads, kBlocksOfProcessor)
    norm_backward_kernel(const __grid_constant__ BackwardArguments<T> a) {
  constexpr int kLanes = kFork ? 2 : 1, kUnroll = kFork && kMaskByY ? 1 : 2;
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kWidth;
  if (c >= a.channels) return;
  const int stride = static_cast<int>(gridDim.y * blockDim.y);
  for (int64_t block = int64_t{blockIdx.z} * blockDim.z + threadIdx.z; block < a.blocks;
       block += int64_t{gridDim.z} * blockDim.z) {
    const int64_t begin = max(a.first_row - block * a.rows, int64_t{0});
    const int64_t end = min(a.last_row - block * a.rows, int64_t{a.rows});
    if (begin >= end) continue;
    float multiplier[kLanes][kWidth], addend[kLanes][kWidth], slope[kWidth] = {},
                                                              constant[kWidth] = {};
    const Lane& own = !kFork && block >= a.second_lane ? a.lane[1] : a.lane[0];
    for (int l = 0; l < kLanes; ++l)
      coefficients(l == 0 ? own : a.lane[1], a.groups, block, c, multiplier[l], addend[l]);
    if (a.terms.slope != nullptr)
      for (int i = 0; i < kWidth; ++i) {
        const int64_t statistic = block * a.groups.count + a.groups.of(c, i);
        slope[i] = a.terms.slope[statistic];
        constant[i] = a.terms.constant[statistic];
      }
    const int last = static_cast<int>(end) - 1;
    for (int row = static_cast<int>(begin + blockIdx.y * blockDim.y + threadIdx.y); row <= last;
         row += kUnroll * stride) {
      GradientRow<T, kWidth, kFork, kMaskByY> operands[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u)
        // Past the end the last row again: all loads are under way together.
        operands[u].read(a, a.blocks * a.rows, block * a.rows + min(row + u * stride, last),
                         a.channels, c, [](const T* p) { return load_chunk_once<kWidth>(p); });
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (row + u * stride > last) break;
        const auto& o = operands[u];
        const int64_t at_row = block * a.rows + row + u * stride;
        float dx[kWidth], dresidual[kWidth] = {};
        for (int i = 0; i < kWidth; ++i) dx[i] = fmaf(at(o.x, i), slope[i], constant[i]);
#pragma unroll
        for (int l = 0; l < kLanes; ++l) {
          for (int i = 0; i < kWidth; ++i) {
            const float g = o.gradient(l, i, multiplier, addend, a.floor);
            dx[i] = fmaf(g, multiplier[l][i], dx[i]);
            dresidual[i] += a.dresidual_is_dy ? at(o.dy[l], i) : g;
          }
          if (a.dresidual != nullptr) put_residual<kFork>(a, at_row, l, c, dresidual);
        }
        if (a.dx != nullptr) put(a.dx + at_row * a.channels + c, dx, a.accumulate_dx);
      }
    }
  }
}

template <class T, int kWidth, bool kFork, bool kMaskByY>
void backward(CudaStream& stream, const NormBackward& s, const NormTerms& terms) {
  const NormGeometry& g = s.geometry;
  const int64_t columns = norm_columns(g.channels, kWidth);
  const NormWalk walk = norm_walk(g, gpu::ceil_div(g.channels, columns * kWidth), columns, kThreads,
                                  int64_t{kBlocksOfProcessor} * stream.multiprocessors());
  BackwardArguments<T> a = backward_arguments<T>(s, terms);
  const auto launch = [&] {
    gpu::launch(stream, norm_backward_kernel<T, kWidth, kFork, kMaskByY>, walk.grid, walk.block, 0,
                a);
  };
  if (kFork || !s.dresidual || s.dresidual.size == s.dy.size) return launch();
  // Rows in different halves of dy share a row of the residual: one half after the other.
  a.last_row = a.residual_rows;
  launch();
  a.first_row = a.residual_rows;
  a.last_row = 2 * a.residual_rows;
  a.accumulate_dresidual = true;
  launch();
}

}  // namespace

void norm_backward(CudaStream& stream, const NormBackward& a) {
  check(a);
  if (norm_variant(a.variant, fits_one_read(stream, a)) == NormVariant::kOneRead)
    return norm_backward_in_one_read(stream, a);
  const bool affine = wants_affine(a);
  const bool moving = a.dx && !a.fixed_statistics;
  const int64_t statistics = moving ? a.geometry.statistics() : 0;
  const Scratch<float> scratch(stream, 2 * statistics);
  NormTerms terms;
  if (moving) terms = {scratch.data(), scratch.data() + statistics};
  if (affine || moving) norm_backward_reduce(stream, a, terms);
  if (!a.dx && !a.dresidual) return;
  visit_norm_backward(a, [&](auto zero, auto width, auto fork, auto mask_by_y) {
    backward<decltype(zero), width, fork, mask_by_y>(stream, a, terms);
  });
}

}  // namespace passnorm::kernels
