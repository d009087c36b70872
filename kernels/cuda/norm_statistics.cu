#include "kernels/cuda/norm_moments.cuh"
#include "kernels/norm_sums.hpp"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

using gpu::Shared;

constexpr int kThreads = 512;  // of a block at most
constexpr int kUnroll = 8;     // loads under way: 64 KB of a multiprocessor

template <class T>
struct StatisticsArguments {
  const T* x;  ///< [B, R, C]
  int64_t blocks;
  int rows, channels, tile_channels, tile_groups;
  Groups groups;
  StatisticsOutput out;
  float* partial;  ///< [B, tiles, parts, {mean, deviation}, tile_groups], when there are parts
  unsigned* tickets;
};

/// A tile is as many whole groups as fit in the block's columns; of a wider group the columns walk
/// over its channels.
template <class T, int kWidth, bool kGrouped>
__global__ void __launch_bounds__(kThreads)
    norm_statistics_kernel(const __grid_constant__ StatisticsArguments<T> a) {
  __shared__ Shared<float, moments_exchange<kWidth, kGrouped>(kThreads)> exchange;
  const int column = static_cast<int>(threadIdx.x), columns = static_cast<int>(blockDim.x);
  const int segment = static_cast<int>(threadIdx.z), segments = static_cast<int>(blockDim.z);
  const int thread = gpu::thread_of_block();
  const int tile = static_cast<int>(blockIdx.x), part = static_cast<int>(blockIdx.y),
            parts = static_cast<int>(gridDim.y);
  const int first = tile * a.tile_channels, end = min(first + a.tile_channels, a.channels);
  const int first_row = static_cast<int>(part * blockDim.y + threadIdx.y);
  const int stride = static_cast<int>(gridDim.y * blockDim.y);
  const auto origin = [&](int64_t block, int group) {
    return set_origin(a.x, a.rows, a.channels, a.groups, block, group);
  };

  for (int64_t step = int64_t{blockIdx.z} * segments; step < a.blocks;
       step += int64_t{gridDim.z} * segments) {
    const int64_t block = a.blocks - 1 - step - segment;  // from the last to the first
    ShiftedSums<kWidth> sums;
    if (block >= 0 && first_row < a.rows)
      for (int c = first + column * kWidth; c < end; c += columns * kWidth) {
        const T* p = a.x + ((block + 1) * a.rows - 1 - first_row) * a.channels + c;
        const int64_t step_up = int64_t{stride} * a.channels;
        sums.expect((a.rows - first_row + stride - 1) / stride, gpu::load_chunk<kWidth>(p));
        for (int row = first_row; row < a.rows; row += kUnroll * stride, p -= kUnroll * step_up) {
          gpu::Chunk<T, kWidth> x[kUnroll];
#pragma unroll
          for (int u = 0; u < kUnroll; ++u)  // past the end this row again: no branch
            x[u] = gpu::load_chunk<kWidth>(row + u * stride < a.rows ? p - u * step_up : p);
#pragma unroll
          for (int u = 0; u < kUnroll; ++u)
            if (row + u * stride < a.rows) sums.add(x[u]);
        }
      }

    float channel[1 + 2 * kWidth];
    sums.moments(channel,
                 [&](int i) { return origin(block, a.groups.of(first + column * kWidth, i)); });
    const auto emit = [&](int of_segment, int group, float mean, float deviation) {
      const int64_t of_block = a.blocks - 1 - step - of_segment;
      const int statistic = tile * a.tile_groups + group;
      if (of_block < 0 || statistic >= a.groups.count) return;
      if (parts == 1) {
        a.out.put(of_block * a.groups.count + statistic,
                  a.out.statistic(origin(of_block, statistic) + mean, deviation));
      } else {
        float* to =
            a.partial + ((of_block * gridDim.x + tile) * parts + part) * 2 * a.tile_groups + group;
        to[0] = mean;
        to[a.tile_groups] = deviation;
      }
    };
    merge_tile<kWidth, kGrouped>(channel, a.tile_groups, a.groups.width, &exchange[0], emit);
  }

  if (parts == 1) return;
  const int64_t block = a.blocks - 1 - int64_t{blockIdx.z};  // parts: one segment, one step
  if (!gpu::is_last_block(a.tickets + blockIdx.z * gridDim.x + tile, gridDim.y)) return;
  float set[3];
  merge_parts(a.partial + (block * gridDim.x + tile) * parts * 2 * a.tile_groups, parts,
              a.tile_groups, a.rows, a.groups.width, &exchange[0], set);
  const int statistic = tile * a.tile_groups + thread;
  if (thread < a.tile_groups && statistic < a.groups.count)
    a.out.put(block * a.groups.count + statistic,
              a.out.statistic(origin(block, statistic) + set[1], set[2]));
}

template <class T, int kWidth, bool kGrouped>
void statistics(CudaStream& stream, const NormStatistics& s, const NormGeometry& g) {
  const Groups groups = groups_of(g);
  constexpr int kTile = kColumns<kWidth> * kWidth;
  const int fit = std::max(1, kTile / groups.width);
  const int tile_groups = static_cast<int>(std::bit_floor(static_cast<unsigned>(fit)));
  const int64_t tiles = gpu::ceil_div(g.groups, tile_groups);
  // Large blocks leave few partial results; where blocks of x fill the machine, small ones overlap.
  const int64_t full = int64_t{kThreads} * stream.multiprocessors();
  const auto threads = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(
      std::clamp<int64_t>(full / (tiles * g.blocks), kThreads / 4, kThreads))));
  const int64_t columns =
      norm_columns(std::min<int64_t>(g.channels, tile_groups * groups.width), kWidth);
  const NormWalk walk = norm_walk(g, tiles, columns, threads, full / threads);
  const int64_t parts = walk.grid.y;
  PASSNORM_CHECK(parts == 1 || tiles * g.blocks <= CudaStream::kTickets, tiles * g.blocks,
                 " tiles in parts");
  const Scratch<float> partial(stream, parts == 1 ? 0 : g.blocks * tiles * parts * 2 * tile_groups);
  gpu::launch(stream, norm_statistics_kernel<T, kWidth, kGrouped>, walk.grid, walk.block, 0,
              StatisticsArguments<T>{.x = s.x.as<T>(),
                                     .blocks = g.blocks,
                                     .rows = static_cast<int>(g.rows),
                                     .channels = static_cast<int>(g.channels),
                                     .tile_channels = tile_groups * groups.width,
                                     .tile_groups = tile_groups,
                                     .groups = groups,
                                     .out = statistics_output(s),
                                     .partial = partial.data(),
                                     .tickets = stream.tickets()});
}

/// Statistics over all channels of a block know no rows: its elements are seen as rows of one
/// chunk.
NormGeometry chunks_as_rows(const NormGeometry& g, int64_t width) {
  return {g.blocks, g.rows * g.channels / width, width, 1};
}

constexpr int kFlatThreads = 256;

__global__ void __launch_bounds__(kFlatThreads)
    norm_update_running_kernel(int channels, RunningAverages running, const float* mean,
                               const float* var) {
  const int c = static_cast<int>(blockIdx.x * kFlatThreads + threadIdx.x);
  if (c < channels) running.update(c, mean[c], var[c]);
}

__global__ void __launch_bounds__(kFlatThreads)
    norm_rstd_kernel(int channels, const float* var, float* rstd, float eps) {
  const int c = static_cast<int>(blockIdx.x * kFlatThreads + threadIdx.x);
  if (c < channels) rstd[c] = 1.0f / sqrtf(var[c] + eps);
}

dim3 flat_grid(int64_t channels) {
  return {static_cast<unsigned>(gpu::ceil_div(channels, kFlatThreads))};
}

}  // namespace

void norm_statistics(CudaStream& stream, const NormStatistics& a) {
  check(a);
  if (!a.sums.empty()) return norm_statistics_from_sums(stream, a);
  const NormGeometry& g = a.geometry;
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kWidth = gpu::Pack<T>::kSize;
    const bool one_group = g.groups == 1;
    if (one_group && gpu::divides<kWidth>(g.rows * g.channels, {a.x.data}))
      statistics<T, kWidth, true>(stream, a, chunks_as_rows(g, kWidth));
    else if (one_group)
      statistics<T, 1, true>(stream, a, chunks_as_rows(g, 1));
    else if (!divides<kWidth>(g, {a.x.data}))
      statistics<T, 1, true>(stream, a, g);
    else if (g.groups == g.channels)
      statistics<T, kWidth, false>(stream, a, g);
    else
      statistics<T, kWidth, true>(stream, a, g);
  });
}

void norm_update_running(CudaStream& stream, const NormUpdateRunning& a) {
  check(a);
  gpu::launch(stream, norm_update_running_kernel, flat_grid(a.channels), dim3(kFlatThreads), 0,
              static_cast<int>(a.channels), running_averages(a), a.mean.data(), a.var.data());
}

void norm_rstd(CudaStream& stream, const NormRstd& a) {
  check(a);
  gpu::launch(stream, norm_rstd_kernel, flat_grid(static_cast<int64_t>(a.var.size())),
              dim3(kFlatThreads), 0, static_cast<int>(a.var.size()), a.var.data(), a.rstd.data(),
              a.eps);
}

}  // namespace passnorm::kernels
