// What the normalisation kernels share on the GPU: which thread takes which elements, and the
// affine as one multiply-add.
#pragma once

#include <algorithm>
#include <limits>

#include "kernels/cuda/chunk.cuh"
#include "kernels/norm.hpp"

namespace passnorm::kernels {

/// How a grid walks over x [B, R, C]: reductions from the last element to the first, since what was
/// written last is still in the cache; what follows a reduction from the first to the last, for the
/// same reason. A thread keeps W neighbouring channels and strides over rows.
/// Its block's threads are (column: channels / W, row, segment: blocks of x side by side); the grid
/// is (tile of channels, part of the rows, blocks of x / segments).
struct NormWalk {
  dim3 grid, block;
};

/// Rows that a thread has at least, where there are so many: their loads are under way together.
inline constexpr int64_t kRowsOfThread = 4;

/// Times the blocks that the machine runs at a time: a grid of more walks over the blocks of x.
inline constexpr int64_t kWaves = 4;

/// columns: threads side by side along the channels of a tile, a power of two. threads: of a block
/// at most. resident: blocks that the machine runs at a time; with fewer blocks of x than that,
/// several share the rows of one.
inline NormWalk norm_walk(const NormGeometry& g, int64_t tiles, int64_t columns, int64_t threads,
                          int64_t resident) {
  PASSNORM_CHECK(g.rows < 1 << 30 && g.channels < 1 << 30, g.rows, " rows of ", g.channels,
                 " channels");
  const auto power_of_two = [](int64_t n) {
    return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n)));
  };
  const int64_t rows =
      std::min(power_of_two(gpu::ceil_div(g.rows, kRowsOfThread)), threads / columns);
  const int64_t most = std::clamp<int64_t>(threads / (columns * rows), 1, 64);
  const int64_t segments =
      std::max(std::min(power_of_two(g.blocks), most), std::max<int64_t>(1, 32 / (columns * rows)));
  const int64_t sets = gpu::ceil_div(g.blocks, segments);
  const int64_t parts = segments > 1
                            ? 1
                            : std::clamp<int64_t>(resident / (tiles * sets), 1,
                                                  gpu::ceil_div(g.rows, rows * kRowsOfThread));
  const auto count = [](int64_t n) { return static_cast<unsigned>(n); };
  return {dim3(count(tiles), count(parts),
               count(std::min(sets, std::max<int64_t>(1, kWaves * resident / tiles)))),
          dim3(count(columns), count(rows), count(segments))};
}

/// Threads side by side along the channels: a row's 128 bytes, a full line.
template <int kWidth>
inline constexpr int kColumns = kWidth == 1 ? 32 : 8;

inline int64_t norm_columns(int64_t channels, int64_t width) {
  return std::min<int64_t>(
      width == 1 ? kColumns<1> : kColumns<2>,
      static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(gpu::ceil_div(channels, width)))));
}

struct Lane {
  const float* mean;   ///< [B, G]
  const float* rstd;   ///< [B, G]
  const float* scale;  ///< [C], or null: 1
  const float* shift;  ///< [C], or null: 0
};
inline Lane device_lane(const NormLane& lane) {
  return {lane.mean.data(), lane.rstd.data(), lane.scale.empty() ? nullptr : lane.scale.data(),
          lane.shift.empty() ? nullptr : lane.shift.data()};
}

/// Which statistic stands behind a channel. Groups are one channel wide, or a multiple of the
/// chunk's width.
struct Groups {
  int count;  ///< G
  int width;  ///< C / G

  /// Of element i of the chunk that starts at this channel, in block 0 of x.
  __device__ int of(int channel, int i) const { return channel / width + (width == 1 ? i : 0); }
};
inline Groups groups_of(const NormGeometry& g) {
  return {static_cast<int>(g.groups), static_cast<int>(g.channels / g.groups)};
}

/// Whether chunks of kWidth channels may be used.
template <int kWidth>
bool divides(const NormGeometry& g, std::initializer_list<const void*> addresses) {
  const int64_t width = g.channels / g.groups;
  return (width == 1 || width % kWidth == 0) && gpu::divides<kWidth>(g.channels, addresses);
}

/// scale xhat + shift = multiplier x + addend. The same operations wherever it is called: apply and
/// backward must see the same sign. mean, rstd: tables of a block of x, from statistic `first` on.
template <int kWidth>
__device__ __forceinline__ void coefficients(const Lane& lane, const Groups& groups,
                                             const float* mean, const float* rstd, int first,
                                             int channel, float (&multiplier)[kWidth],
                                             float (&addend)[kWidth]) {
  for (int i = 0; i < kWidth; ++i) {
    const int at = groups.of(channel, i) - first;
    const float scale = lane.scale == nullptr ? 1.0f : lane.scale[channel + i];
    const float shift = lane.shift == nullptr ? 0.0f : lane.shift[channel + i];
    multiplier[i] = rstd[at] * scale;
    addend[i] = fmaf(-mean[at], multiplier[i], shift);
  }
}
/// By the lane's own statistics.
template <int kWidth>
__device__ __forceinline__ void coefficients(const Lane& lane, const Groups& groups, int64_t block,
                                             int channel, float (&multiplier)[kWidth],
                                             float (&addend)[kWidth]) {
  coefficients(lane, groups, lane.mean + block * groups.count, lane.rstd + block * groups.count, 0,
               channel, multiplier, addend);
}
template <class T, int kWidth>
__device__ __forceinline__ float at(const gpu::Chunk<T, kWidth>& chunk, int i) {
  return gpu::to_float(chunk.v[i]);
}

/// What is not read again soon leaves the caches first.
template <int kWidth, class T>
__device__ __forceinline__ gpu::Chunk<T, kWidth> load_chunk_once(const T* p) {
  if constexpr (sizeof(gpu::Chunk<T, kWidth>) == 16)
    return gpu::load_once(reinterpret_cast<const gpu::Chunk<T, kWidth>*>(p));
  else
    return gpu::load_chunk<kWidth>(p);
}

/// The floats of a chunk, rounded to its type.
template <class T, int kWidth>
__device__ __forceinline__ void store_floats(T* p, const float (&x)[kWidth]) {
  gpu::Chunk<T, kWidth> chunk;
  for (int i = 0; i < kWidth; ++i) chunk.v[i] = gpu::from_float<T>(x[i]);
  gpu::store_chunk<kWidth>(p, chunk);
}

/// relu is max(u, floor), and lets a gradient pass where u is above the floor; without it nothing
/// is below.
inline float norm_floor(NormActivation activation) {
  return activation == NormActivation::kIdentity ? -std::numeric_limits<float>::infinity() : 0.0f;
}

/// Calls f(T, width of a chunk, fork, whether the mask is read from y) with all as types.
template <class F>
void visit_norm_backward(const NormBackward& a, F&& f) {
  const bool mask_by_y = a.activation == NormActivation::kRelu && a.has_residual;
  visit_storage(a.x.dtype, [&](auto zero) {
    constexpr int kWide = gpu::Pack<decltype(zero)>::kSize;
    const bool wide = divides<kWide>(a.geometry, {a.x.data, mask_by_y ? a.y.data : nullptr,
                                                  a.dy.data, a.dx.data, a.dresidual.data});
    gpu::visit_width<kWide>(wide, [&](auto width) {
      using Yes = std::true_type;
      using No = std::false_type;
      if (a.fork)
        mask_by_y ? f(zero, width, Yes(), Yes()) : f(zero, width, Yes(), No());
      else
        mask_by_y ? f(zero, width, No(), Yes()) : f(zero, width, No(), No());
    });
  });
}

}  // namespace passnorm::kernels
