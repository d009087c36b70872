#include "kernels/cuda/block.cuh"
#include "kernels/cuda/norm.cuh"
#include "kernels/norm_sums.hpp"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

using gpu::Shared;

constexpr int kThreads = 512;  // of a block at most
constexpr int kUnroll = 8;     // loads under way: 64 KB of a multiprocessor

struct StatisticsOutput {
  float* mean;  ///< [B, G]
  float* rstd;  ///< [B, G]
  float* var;   ///< [B, G], or null
  float count;  ///< M
  float eps;

  /// deviation: the sum of squared deviations.
  __device__ void put(int64_t at, float m, float deviation) const {
    const float v = deviation / count;
    mean[at] = m;
    rstd[at] = 1.0f / sqrtf(v + eps);
    if (var != nullptr) var[at] = v;
  }
};

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

/// Means are kept as distances from an element of their set: near it, so that their differences are
/// exact enough for the variance also where all are far from 0.
template <class T>
__device__ float origin(const StatisticsArguments<T>& a, int64_t block, int group) {
  return gpu::to_float(a.x[((block + 1) * a.rows - 1) * a.channels + group * a.groups.width]);
}

/// Merges [count, kWidth means, kWidth sums of squared deviations]: Chan, Golub and LeVeque 1979.
template <int kWidth>
struct MergeMoments {
  __device__ void operator()(float (&a)[1 + 2 * kWidth], const float (&b)[1 + 2 * kWidth]) const {
    const float count = a[0] + b[0];
    const float share = count > 0 ? b[0] / count : 0.0f;
    const float weight = a[0] * share;
    a[0] = count;
    for (int i = 1; i <= kWidth; ++i) {
      const float delta = b[i] - a[i];
      a[i] = fmaf(delta, share, a[i]);
      a[kWidth + i] += fmaf(delta * delta, weight, b[kWidth + i]);
    }
  }
};

/// The moments of kWidth channels of equally many elements as those of one set.
template <int kWidth>
__device__ void merge_channels(const float (&channels)[1 + 2 * kWidth], float (&set)[3]) {
  float offset = 0, deviation = 0;
  for (int i = 1; i <= kWidth; ++i) offset += channels[i] - channels[1];
  const float mean = channels[1] + offset * (1.0f / kWidth);
  for (int i = 1; i <= kWidth; ++i) {
    const float delta = channels[i] - mean;
    deviation += fmaf(channels[0] * delta, delta, channels[kWidth + i]);
  }
  set[0] = channels[0] * kWidth;
  set[1] = mean;
  set[2] = deviation;
}

/// Rows that a part of the grid takes of a block of x.
__device__ int rows_of_part(int rows, int part) {
  const int height = static_cast<int>(blockDim.y), stride = height * static_cast<int>(gridDim.y);
  return rows / stride * height + min(max(rows % stride - part * height, 0), height);
}

/// kGrouped: a statistic belongs to several channels, a multiple of kWidth; else to one. A tile is
/// as many whole groups as fit in the block's columns; of a wider group the columns walk over its
/// channels.
template <class T, int kWidth, bool kGrouped>
__global__ void __launch_bounds__(kThreads)
    norm_statistics_kernel(const __grid_constant__ StatisticsArguments<T> a) {
  constexpr int kSets = kGrouped ? 1 : kWidth, kValues = 1 + 2 * kSets;
  constexpr int kExchange =
      std::max(gpu::exchange_size(kValues, kColumns<kWidth>, kThreads), 3 * kThreads);
  __shared__ Shared<float, kExchange> exchange;
  const int column = static_cast<int>(threadIdx.x), columns = static_cast<int>(blockDim.x);
  const int segment = static_cast<int>(threadIdx.z), segments = static_cast<int>(blockDim.z);
  const int thread = gpu::thread_of_block(), threads = gpu::threads_of_block();
  const int tile = static_cast<int>(blockIdx.x), part = static_cast<int>(blockIdx.y),
            parts = static_cast<int>(gridDim.y);
  const int first = tile * a.tile_channels, end = min(first + a.tile_channels, a.channels);
  const int first_row = static_cast<int>(part * blockDim.y + threadIdx.y);
  const int stride = static_cast<int>(gridDim.y * blockDim.y);

  for (int64_t step = int64_t{blockIdx.z} * segments; step < a.blocks;
       step += int64_t{gridDim.z} * segments) {
    const int64_t block = a.blocks - 1 - step - segment;  // from the last to the first
    float pivot[kWidth] = {}, sum[kWidth] = {}, square[kWidth] = {};
    float count = 0;
    if (block >= 0 && first_row < a.rows)
      for (int c = first + column * kWidth; c < end; c += columns * kWidth) {
        const T* p = a.x + ((block + 1) * a.rows - 1 - first_row) * a.channels + c;
        const int64_t step_up = int64_t{stride} * a.channels;
        // The thread's own first row: near the mean, so the squares do not cancel.
        if (count == 0) {
          const auto x = gpu::load_chunk<kWidth>(p);
          for (int i = 0; i < kWidth; ++i) pivot[i] = at(x, i);
        }
        count += static_cast<float>((a.rows - first_row + stride - 1) / stride);
        for (int row = first_row; row < a.rows; row += kUnroll * stride, p -= kUnroll * step_up) {
          gpu::Chunk<T, kWidth> x[kUnroll];
#pragma unroll
          for (int u = 0; u < kUnroll; ++u)  // past the end this row again: no branch
            x[u] = gpu::load_chunk<kWidth>(row + u * stride < a.rows ? p - u * step_up : p);
#pragma unroll
          for (int u = 0; u < kUnroll; ++u)
            if (row + u * stride < a.rows) {
              for (int i = 0; i < kWidth; ++i) {
                const float d = at(x[u], i) - pivot[i];
                sum[i] += d;
                square[i] = fmaf(d, d, square[i]);
              }
            }
        }
      }

    float channel[1 + 2 * kWidth];
    const float inverse = count > 0 ? 1.0f / count : 0.0f;
    channel[0] = count;
    for (int i = 0; i < kWidth; ++i) {
      const float offset = sum[i] * inverse, deviation = fmaf(-sum[i], offset, square[i]);
      const int group = a.groups.of(first + column * kWidth, i);
      channel[1 + i] = count > 0 ? pivot[i] - origin(a, block, group) + offset : 0.0f;
      channel[1 + kWidth + i] = deviation < 0 ? 0.0f : deviation;  // in this order NaN stays
    }
    float value[kValues];
    if constexpr (kGrouped)
      merge_channels<kWidth>(channel, value);
    else
      for (int i = 0; i < kValues; ++i) value[i] = channel[i];
    gpu::merge_rows(value, columns, static_cast<int>(blockDim.y), &exchange[0],
                    MergeMoments<kSets>());

    const auto emit = [&](int64_t of_block, int group, float mean, float deviation) {
      if (parts == 1) {
        const int statistic = tile * a.tile_groups + group;
        a.out.put(of_block * a.groups.count + statistic, origin(a, of_block, statistic) + mean,
                  deviation);
      } else {
        float* to =
            a.partial + ((of_block * gridDim.x + tile) * parts + part) * 2 * a.tile_groups + group;
        to[0] = mean;
        to[a.tile_groups] = deviation;
      }
    };
    if constexpr (!kGrouped) {
      if (threadIdx.y == 0 && block >= 0 && first + column * kWidth < end)
        for (int i = 0; i < kWidth; ++i)
          emit(block, column * kWidth + i, value[1 + i], value[1 + kWidth + i]);
    } else {
      const int slots = segments * columns;
      if (threadIdx.y == 0)
        for (int i = 0; i < 3; ++i) exchange[i * slots + segment * columns + column] = value[i];
      __syncthreads();
      const int group_columns = min(a.groups.width / kWidth, columns);
      for (int k = thread; k < segments * a.tile_groups; k += threads) {
        const int of_segment = k / a.tile_groups, group = k % a.tile_groups;
        const int64_t of_block = a.blocks - 1 - step - of_segment;
        if (of_block < 0 || tile * a.tile_groups + group >= a.groups.count) continue;
        float set[3] = {};
        for (int j = 0; j < group_columns; ++j) {
          const int slot = of_segment * columns + group * group_columns + j;
          MergeMoments<1>()(set,
                            {exchange[slot], exchange[slots + slot], exchange[2 * slots + slot]});
        }
        emit(of_block, group, set[1], set[2]);
      }
      __syncthreads();
    }
  }

  if (parts == 1) return;
  const int64_t block = a.blocks - 1 - int64_t{blockIdx.z};  // parts: one segment, one step
  if (!gpu::is_last_block(a.tickets + blockIdx.z * gridDim.x + tile, gridDim.y)) return;
  const int group = thread % a.tile_groups, heights = threads / a.tile_groups;
  const int statistic = tile * a.tile_groups + group;
  float set[3] = {};
  if (statistic < a.groups.count)
    for (int k = thread / a.tile_groups; k < parts; k += heights) {
      const float* from =
          a.partial + ((block * gridDim.x + tile) * parts + k) * 2 * a.tile_groups + group;
      MergeMoments<1>()(
          set, {static_cast<float>(rows_of_part(a.rows, k)) * static_cast<float>(a.groups.width),
                from[0], from[a.tile_groups]});
    }
  gpu::merge_rows(set, a.tile_groups, heights, &exchange[0], MergeMoments<1>());
  if (thread < a.tile_groups && statistic < a.groups.count)
    a.out.put(block * a.groups.count + statistic, origin(a, block, statistic) + set[1], set[2]);
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
                                     .out = {.mean = s.mean.data(),
                                             .rstd = s.rstd.data(),
                                             .var = s.var.empty() ? nullptr : s.var.data(),
                                             .count = static_cast<float>(g.group_size()),
                                             .eps = s.eps},
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
    norm_update_running_kernel(int channels, float unbiased, float momentum, const float* mean,
                               const float* var, float* running_mean, float* running_var) {
  const int c = static_cast<int>(blockIdx.x * kFlatThreads + threadIdx.x);
  if (c >= channels) return;
  const float keep = 1 - momentum;
  running_mean[c] = keep * running_mean[c] + momentum * mean[c];
  running_var[c] = keep * running_var[c] + momentum * unbiased * var[c];
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
  const double count = static_cast<double>(a.count);
  gpu::launch(stream, norm_update_running_kernel, flat_grid(a.channels), dim3(kFlatThreads), 0,
              static_cast<int>(a.channels),
              static_cast<float>(a.count > 1 ? count / (count - 1) : 1.0), a.momentum,
              a.mean.data(), a.var.data(), a.running_mean.data(), a.running_var.data());
}

void norm_rstd(CudaStream& stream, const NormRstd& a) {
  check(a);
  gpu::launch(stream, norm_rstd_kernel, flat_grid(static_cast<int64_t>(a.var.size())),
              dim3(kFlatThreads), 0, static_cast<int>(a.var.size()), a.var.data(), a.rstd.data(),
              a.eps);
}

}  // namespace passnorm::kernels
