#include "kernels/cuda/norm_gradient.cuh"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

using gpu::AddFloats;
using gpu::Shared;

constexpr int kThreads = 512;  // of a block that reduces, at most
constexpr int kFinishThreads = 1024;

template <class T>
struct ReduceArguments {
  const T* x;   ///< [B, R, C]
  const T* dy;  ///< [B, R, C], in a fork [2, B, R, C]
  const T* y;   ///< as dy, where the mask is read from it
  int rows;
  float floor;  ///< the gradient passes where the activation's argument is above this
  bool finish;  ///< the last block of a tile does: one channel behind a statistic, few blocks
  FinishArguments out;
  unsigned* tickets;
};

// One block: ptxas for sm_80 spills to make room for more.
template <class T, int kWidth, bool kFork, bool kMaskByY>
__global__ void __launch_bounds__(kThreads, 1)
    norm_backward_reduce_kernel(const __grid_constant__ ReduceArguments<T> a) {
  constexpr int kLanes = kFork ? 2 : 1, kUnroll = kFork || kMaskByY ? 2 : 4;
  constexpr int kValues = 2 * kLanes * kWidth;
  constexpr int kExchange =
      std::max(gpu::exchange_size(kValues, kColumns<kWidth>, kThreads), 2 * kLanes * kThreads);
  __shared__ Shared<float, kExchange> exchange;
  const FinishArguments& f = a.out;
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kWidth;
  const int first_row = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
  const int stride = static_cast<int>(gridDim.y * blockDim.y);
  for (int64_t step = int64_t{blockIdx.z} * blockDim.z; step < f.blocks;
       step += int64_t{gridDim.z} * blockDim.z) {
    const int64_t block = f.blocks - 1 - step - threadIdx.z;  // from the last to the first
    const bool inside = block >= 0 && c < f.channels;
    float value[kValues] = {};  // [lane][g, g (x - mean)][channel]
    if (inside) {
      float multiplier[kLanes][kWidth], addend[kLanes][kWidth], mean[kWidth];
      const Lane& own = !kFork && block >= f.second_lane ? f.lane[1] : f.lane[0];
      if constexpr (!kMaskByY)
        for (int l = 0; l < kLanes; ++l)
          coefficients(l == 0 ? own : f.lane[1], f.groups, block, c, multiplier[l], addend[l]);
      for (int i = 0; i < kWidth; ++i)
        mean[i] = own.mean[block * f.groups.count + f.groups.of(c, i)];
      for (int row = first_row; row < a.rows; row += kUnroll * stride) {
        GradientRow<T, kWidth, kFork, kMaskByY> operands[kUnroll];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
          // Past the end row 0 again: all loads are under way together.
          operands[u].read(a, f.blocks * a.rows,
                           (block + 1) * a.rows - 1 - min(row + u * stride, a.rows - 1), f.channels,
                           c, [](const T* p) { return gpu::load_chunk<kWidth>(p); });
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
          if (row + u * stride >= a.rows) break;
          for (int l = 0; l < kLanes; ++l)
            for (int i = 0; i < kWidth; ++i)
              add_products<kWidth>(value, l, i,
                                   operands[u].gradient(l, i, multiplier, addend, a.floor),
                                   at(operands[u].x, i) - mean[i]);
        }
      }
    }
    gpu::merge_rows(value, static_cast<int>(blockDim.x), static_cast<int>(blockDim.y), &exchange[0],
                    AddFloats());
    if (threadIdx.y == 0 && inside)
      for (int q = 0; q < 2 * kLanes; ++q)
        for (int i = 0; i < kWidth; ++i)
          f.sums[((block * f.parts + blockIdx.y) * 2 * kLanes + q) * f.channels + c + i] =
              value[q * kWidth + i];
  }
  if (a.finish && gpu::is_last_block(a.tickets + blockIdx.x, gridDim.y * gridDim.z))
    finish_tile<kWidth, kLanes>(f, &exchange[0]);
}

/// The other geometries: blocks [0, term_blocks) find the terms, `side` threads a statistic; each
/// of the others dscale and dshift of 32 channels of a lane.
template <int kLanes>
__global__ void __launch_bounds__(kFinishThreads)
    norm_backward_finish_kernel(const __grid_constant__ FinishArguments f, unsigned term_blocks,
                                int side) {
  __shared__ Shared<float, 2 * kFinishThreads> exchange;
  const int thread = static_cast<int>(threadIdx.x);
  const auto sum_of = [&](int64_t part, int l, int q, int c) {
    return f.sums[((part * kLanes + l) * 2 + q) * f.channels + c];
  };
  float total[2] = {};
  if (blockIdx.x < term_blocks) {
    const int64_t at = (int64_t{blockIdx.x} * kFinishThreads + thread) / side;
    const bool inside = at < f.blocks * f.groups.count;
    const int64_t block = at / f.groups.count;
    const Lane& own = kLanes == 1 && block >= f.second_lane ? f.lane[1] : f.lane[0];
    if (inside) {
      const int first = static_cast<int>(at % f.groups.count) * f.groups.width;
      for (int c = first + thread % side; c < first + f.groups.width; c += side)
        for (int l = 0; l < kLanes; ++l) {
          const Lane& lane = l == 0 ? own : f.lane[1];
          const float scale = lane.scale == nullptr ? 1.0f : lane.scale[c];
          float sum = 0, product = 0;
          for (int64_t k = block * f.parts; k < (block + 1) * f.parts; ++k) {
            sum += sum_of(k, l, 0, c);
            product += sum_of(k, l, 1, c);
          }
          total[0] = fmaf(scale, sum, total[0]);
          total[1] = fmaf(scale, f.times_xhat(lane, own, at, sum, product), total[1]);
        }
    }
    gpu::merge_rows(total, 1, side, &exchange[0], AddFloats());
    if (inside && thread % side == 0) f.put_terms(own, at, total[0], total[1]);
    return;
  }
  const int tiles = (f.channels + gpu::kWarp - 1) / gpu::kWarp;
  const int index = static_cast<int>(blockIdx.x - term_blocks), of_lane = index / tiles;
  const int c = index % tiles * gpu::kWarp + thread % gpu::kWarp;
  const bool split = kLanes == 1 && f.second_lane < f.blocks;
  const int64_t begin = split && of_lane == 1 ? f.second_lane : 0;
  const int64_t end = split && of_lane == 0 ? f.second_lane : f.blocks;
  const Lane& lane = of_lane == 0 ? f.lane[0] : f.lane[1];
  const Lane& own = kLanes == 2 ? f.lane[0] : lane;
  if (c < f.channels)
    for (int64_t k = begin * f.parts + thread / gpu::kWarp; k < end * f.parts;
         k += kFinishThreads / gpu::kWarp) {
      const int64_t at = k / f.parts * f.groups.count + c / f.groups.width;
      const float sum = sum_of(k, kLanes == 2 ? of_lane : 0, 0, c);
      total[0] += f.times_xhat(lane, own, at, sum, sum_of(k, kLanes == 2 ? of_lane : 0, 1, c));
      total[1] += sum;
    }
  gpu::merge_rows(total, gpu::kWarp, kFinishThreads / gpu::kWarp, &exchange[0], AddFloats());
  if (thread < gpu::kWarp && c < f.channels) f.put_affine(of_lane, c, total[0], total[1]);
}

template <int kLanes>
void finish(CudaStream& stream, const NormBackward& a, const FinishArguments& f) {
  const auto side =
      static_cast<int>(std::bit_ceil(static_cast<unsigned>(std::min(f.groups.width, gpu::kWarp))));
  const int64_t terms = f.terms.slope == nullptr ? 0 : a.geometry.statistics();
  const int64_t term_blocks = gpu::ceil_div(terms * side, kFinishThreads);
  const bool affine = f.dscale[0] != nullptr || f.dscale[1] != nullptr || f.dshift[0] != nullptr ||
                      f.dshift[1] != nullptr;
  const int64_t affine_blocks = affine ? a.lanes * gpu::ceil_div(f.channels, gpu::kWarp) : 0;
  gpu::launch(stream, norm_backward_finish_kernel<kLanes>,
              dim3(static_cast<unsigned>(term_blocks + affine_blocks)), dim3(kFinishThreads), 0, f,
              static_cast<unsigned>(term_blocks), side);
}

template <class T, int kWidth, bool kFork, bool kMaskByY>
void reduce(CudaStream& stream, const NormBackward& a, const NormTerms& terms) {
  const NormGeometry& g = a.geometry;
  const int64_t columns = norm_columns(g.channels, kWidth);
  const int64_t tiles = gpu::ceil_div(g.channels, columns * kWidth);
  // Large blocks leave few partial results; where blocks of x fill the machine, small ones overlap.
  const int64_t full = int64_t{kThreads} * stream.multiprocessors();
  const auto threads = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(
      std::clamp<int64_t>(full / (tiles * g.blocks), kThreads / 4, kThreads))));
  const NormWalk walk = norm_walk(g, tiles, columns, threads, full / threads);
  constexpr int kLanes = kFork ? 2 : 1;
  const Scratch<float> sums(stream, g.blocks * walk.grid.y * 2 * kLanes * g.channels);
  ReduceArguments<T> r{
      .x = a.x.as<T>(),
      .dy = a.dy.as<T>(),
      .y = kMaskByY ? a.y.as<T>() : nullptr,
      .rows = static_cast<int>(g.rows),
      .floor = norm_floor(a.activation),
      // A block of few rows has fewer threads than its tile has channels.
      .finish = g.groups == g.channels && g.blocks <= 2 && tiles <= CudaStream::kTickets &&
                int64_t{walk.block.x} * walk.block.y * walk.block.z >= columns * kWidth,
      .out = finish_arguments(a, sums.data(), walk.grid.y, terms),
      .tickets = stream.tickets()};
  gpu::launch(stream, norm_backward_reduce_kernel<T, kWidth, kFork, kMaskByY>, walk.grid,
              walk.block, 0, r);
  if (!r.finish) norm_backward_finish(stream, a, r.out);
}

}  // namespace

void norm_backward_finish(CudaStream& stream, const NormBackward& a, const FinishArguments& f) {
  a.fork ? finish<2>(stream, a, f) : finish<1>(stream, a, f);
}

void norm_backward_reduce(CudaStream& stream, const NormBackward& a, const NormTerms& terms) {
  visit_norm_backward(a, [&](auto zero, auto width, auto fork, auto mask_by_y) {
    reduce<decltype(zero), width, fork, mask_by_y>(stream, a, terms);
  });
}

}  // namespace passnorm::kernels
