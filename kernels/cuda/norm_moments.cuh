// Mean and variance on the GPU: a thread's shifted sums, their merging in a fixed order, and what
// becomes of a set's result.
#pragma once

#include "kernels/cuda/block.cuh"
#include "kernels/cuda/norm.cuh"

namespace passnorm::kernels {

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

/// Sums over the elements of a thread, kWidth channels side by side.
template <int kWidth>
struct ShiftedSums {
  float pivot[kWidth] = {}, sum[kWidth] = {}, square[kWidth] = {};
  float count = 0;

  /// Elements to come, of which x is the first: the pivot is near the mean, so squares do not
  /// cancel.
  template <class T>
  __device__ __forceinline__ void expect(int elements, const gpu::Chunk<T, kWidth>& x) {
    if (count == 0)
      for (int i = 0; i < kWidth; ++i) pivot[i] = at(x, i);
    count += static_cast<float>(elements);
  }
  template <class T>
  __device__ __forceinline__ void add(const gpu::Chunk<T, kWidth>& x) {
    for (int i = 0; i < kWidth; ++i) {
      const float d = at(x, i) - pivot[i];
      sum[i] += d;
      square[i] = fmaf(d, d, square[i]);
    }
  }
  /// As MergeMoments has them, with means as distances from origin(i).
  template <class Origin>
  __device__ __forceinline__ void moments(float (&channel)[1 + 2 * kWidth],
                                          const Origin& origin) const {
    const float inverse = count > 0 ? 1.0f / count : 0.0f;
    channel[0] = count;
    for (int i = 0; i < kWidth; ++i) {
      const float offset = sum[i] * inverse, deviation = fmaf(-sum[i], offset, square[i]);
      channel[1 + i] = count > 0 ? pivot[i] - origin(i) + offset : 0.0f;
      channel[1 + kWidth + i] = deviation < 0 ? 0.0f : deviation;  // in this order NaN stays
    }
  }
};

/// Where the means of a set count from, in memory x [B, R, C]: an element of the set. Near it, so
/// that differences are exact enough for the variance also where all are far from 0.
template <class T>
__device__ float set_origin(const T* x, int rows, int channels, const Groups& groups, int64_t block,
                            int group) {
  return gpu::to_float(x[((block + 1) * rows - 1) * channels + group * groups.width]);
}

/// Floats of shared memory that the merging of a tile's moments needs.
template <int kWidth, bool kGrouped>
constexpr int moments_exchange(int threads) {
  return std::max(gpu::exchange_size(1 + 2 * (kGrouped ? 1 : kWidth), kColumns<kWidth>, threads),
                  3 * threads);
}

/// Merges the moments of a block's threads, of the channels of a tile of whole groups. kGrouped: a
/// statistic belongs to several channels, a multiple of kWidth; else to one. Calls emit(segment,
/// group of the tile, mean, deviation) in one thread for each, also for those behind the last
/// group. All threads of the block call it; exchange is free afterwards.
template <int kWidth, bool kGrouped, class Emit>
__device__ void merge_tile(const float (&channel)[1 + 2 * kWidth], int tile_groups, int group_width,
                           float* exchange, const Emit& emit) {
  constexpr int kSets = kGrouped ? 1 : kWidth, kValues = 1 + 2 * kSets;
  const int column = static_cast<int>(threadIdx.x), columns = static_cast<int>(blockDim.x);
  const int segment = static_cast<int>(threadIdx.z), segments = static_cast<int>(blockDim.z);
  float value[kValues];
  if constexpr (kGrouped)
    merge_channels<kWidth>(channel, value);
  else
    for (int i = 0; i < kValues; ++i) value[i] = channel[i];
  gpu::merge_rows(value, columns, static_cast<int>(blockDim.y), exchange, MergeMoments<kSets>());
  if constexpr (!kGrouped) {
    if (threadIdx.y == 0)
      for (int i = 0; i < kWidth; ++i)
        emit(segment, column * kWidth + i, value[1 + i], value[1 + kWidth + i]);
  } else {
    const int slots = segments * columns;
    if (threadIdx.y == 0)
      for (int i = 0; i < 3; ++i) exchange[i * slots + segment * columns + column] = value[i];
    __syncthreads();
    const int group_columns = min(group_width / kWidth, columns);
    for (int k = gpu::thread_of_block(); k < segments * tile_groups; k += gpu::threads_of_block()) {
      const int of_segment = k / tile_groups, group = k % tile_groups;
      // A tile may have room for more groups than there are.
      if ((group + 1) * group_columns > columns) continue;
      float set[3] = {};
      for (int j = 0; j < group_columns; ++j) {
        const int slot = of_segment * columns + group * group_columns + j;
        MergeMoments<1>()(set,
                          {exchange[slot], exchange[slots + slot], exchange[2 * slots + slot]});
      }
      emit(of_segment, group, set[1], set[2]);
    }
    __syncthreads();
  }
}

/// Rows that a part of the grid takes of a block of x.
__device__ inline int rows_of_part(int rows, int part) {
  const int height = static_cast<int>(blockDim.y), stride = height * static_cast<int>(gridDim.y);
  return rows / stride * height + min(max(rows % stride - part * height, 0), height);
}

/// A tile's statistics from those of its parts, partial [parts, {mean, deviation}, tile_groups]:
/// set = count, mean and deviation of group thread_of_block() in the first tile_groups threads. All
/// threads of the block call it, a multiple of tile_groups.
__device__ inline void merge_parts(const float* partial, int parts, int tile_groups, int rows,
                                   int group_width, float* exchange, float (&set)[3]) {
  const int group = gpu::thread_of_block() % tile_groups;
  const int heights = gpu::threads_of_block() / tile_groups;
  for (int i = 0; i < 3; ++i) set[i] = 0;
  for (int k = gpu::thread_of_block() / tile_groups; k < parts; k += heights) {
    const float* from = partial + k * 2 * tile_groups + group;
    MergeMoments<1>()(
        set, {static_cast<float>(rows_of_part(rows, k)) * static_cast<float>(group_width), from[0],
              from[tile_groups]});
  }
  gpu::merge_rows(set, tile_groups, heights, exchange, MergeMoments<1>());
}

/// Of a set.
struct Statistic {
  float mean, rstd, var;
};

struct StatisticsOutput {
  float* mean;  ///< [B, G]
  float* rstd;  ///< [B, G]
  float* var;   ///< [B, G], or null
  float count;  ///< M
  float eps;

  /// deviation: the sum of squared deviations.
  __device__ Statistic statistic(float m, float deviation) const {
    const float v = deviation / count;
    return {m, 1.0f / sqrtf(v + eps), v};
  }
  __device__ void put(int64_t at, const Statistic& s) const {
    mean[at] = s.mean;
    rstd[at] = s.rstd;
    if (var != nullptr) var[at] = s.var;
  }
};
inline StatisticsOutput statistics_output(const NormStatistics& s) {
  return {.mean = s.mean.data(),
          .rstd = s.rstd.data(),
          .var = s.var.empty() ? nullptr : s.var.data(),
          .count = static_cast<float>(s.geometry.group_size()),
          .eps = s.eps};
}

/// The running averages of a channel and what moves them.
struct RunningAverages {
  float* mean;  ///< [C], or null: none
  float* var;   ///< [C]
  float momentum;
  float unbiased;  ///< M / (M - 1)

  __device__ void update(int c, float batch_mean, float batch_var) const {
    const float keep = 1 - momentum;
    mean[c] = keep * mean[c] + momentum * batch_mean;
    var[c] = keep * var[c] + momentum * unbiased * batch_var;
  }
};
inline RunningAverages running_averages(const NormUpdateRunning& a) {
  const double count = static_cast<double>(a.count);
  return {.mean = a.running_mean.data(),
          .var = a.running_var.data(),
          .momentum = a.momentum,
          .unbiased = static_cast<float>(a.count > 1 ? count / (count - 1) : 1.0)};
}

}  // namespace passnorm::kernels
