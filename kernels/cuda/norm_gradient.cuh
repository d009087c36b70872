// What the kernels of norm_backward share on the GPU: a thread's operands of a row, and what
// becomes of its gradients and their sums.
#pragma once

#include "kernels/cuda/block.cuh"
#include "kernels/cuda/norm.cuh"
#include "kernels/cuda/norm_backward.hpp"

namespace passnorm::kernels {

template <class T>
struct BackwardArguments {
  const T* x;    ///< [B, R, C]
  const T* dy;   ///< [B, R, C], in a fork [2, B, R, C]
  const T* y;    ///< as dy, where the mask is read from it
  T* dx;         ///< as x, or null
  T* dresidual;  ///< [residual_rows, C], or null
  Lane lane[2];
  NormTerms terms;
  int64_t blocks;
  int64_t second_lane;          ///< without a fork: the first block of lane 1
  int64_t residual_rows;        ///< all rows of dy, or half of them
  int64_t first_row, last_row;  ///< of x: what this call does
  int rows, channels;
  Groups groups;
  float floor;  ///< the gradient passes where the activation's argument is above this
  bool accumulate_dx, accumulate_dresidual;
  bool dresidual_is_dy;  ///< not g
};

template <class T>
BackwardArguments<T> backward_arguments(const NormBackward& s, const NormTerms& terms) {
  const NormGeometry& g = s.geometry;
  return {.x = s.x.as<T>(),
          .dy = s.dy.as<T>(),
          .y = s.activation == NormActivation::kRelu && s.has_residual ? s.y.as<T>() : nullptr,
          .dx = s.dx ? s.dx.as<T>() : nullptr,
          .dresidual = s.dresidual ? s.dresidual.as<T>() : nullptr,
          .lane = {device_lane(s.lane[0]), device_lane(s.lane[1])},
          .terms = terms,
          .blocks = g.blocks,
          .second_lane = s.lanes == 2 ? g.blocks / 2 : g.blocks,
          .residual_rows = s.dresidual.size / g.channels,
          .first_row = 0,
          .last_row = g.blocks * g.rows,
          .rows = static_cast<int>(g.rows),
          .channels = static_cast<int>(g.channels),
          .groups = groups_of(g),
          .floor = norm_floor(s.activation),
          .accumulate_dx = s.accumulate_dx,
          .accumulate_dresidual = s.accumulate_dresidual,
          .dresidual_is_dy = s.activation == NormActivation::kReluThenAdd};
}

/// A thread's operands of a row of x, for each lane.
template <class T, int kWidth, bool kFork, bool kMaskByY>
struct GradientRow {
  static constexpr int kLanes = kFork ? 2 : 1;
  using Chunk = gpu::Chunk<T, kWidth>;
  Chunk x, dy[kLanes], y[kLanes];

  /// Arguments: x, dy and y; load: of a chunk.
  template <class Arguments, class Load>
  __device__ __forceinline__ void read(const Arguments& a, int64_t x_rows, int64_t at_row,
                                       int channels, int c, const Load& load) {
    x = load(a.x + at_row * channels + c);
    for (int l = 0; l < kLanes; ++l) {
      const int64_t from = (at_row + l * x_rows) * channels + c;
      dy[l] = load(a.dy + from);
      if constexpr (kMaskByY) y[l] = load(a.y + from);
    }
  }
  /// g of element i in lane l.
  __device__ __forceinline__ float gradient(int l, int i, const float (&multiplier)[kLanes][kWidth],
                                            const float (&addend)[kLanes][kWidth],
                                            float floor) const {
    float pre_activation;
    if constexpr (kMaskByY)
      pre_activation = at(y[l], i);
    else
      pre_activation = fmaf(at(x, i), multiplier[l][i], addend[l][i]);
    return pre_activation <= floor ? 0.0f : at(dy[l], i);  // NaN passes
  }
};

/// Sums over a thread's elements: value [lane][g, g (x - mean)][channel].
template <int kWidth>
__device__ __forceinline__ void add_products(float* value, int l, int i, float g, float distance) {
  float& sum = value[2 * l * kWidth + i];
  float& product = value[(2 * l + 1) * kWidth + i];
  sum += g;
  product = fmaf(g, distance, product);
}

/// to = x, or to += x.
template <class T, int kWidth>
__device__ __forceinline__ void put(T* to, float (&x)[kWidth], bool accumulate) {
  if (accumulate) {
    const auto before = gpu::load_chunk<kWidth>(to);
    for (int i = 0; i < kWidth; ++i) x[i] += at(before, i);
  }
  store_floats(to, x);
}

/// Stores the residual's gradient of row at_row of x in lane l; for the next lane it is 0 again, or
/// where lanes share the residual's rows what that lane adds to.
template <bool kFork, class T, int kWidth>
__device__ __forceinline__ void put_residual(const BackwardArguments<T>& a, int64_t at_row, int l,
                                             int c, float (&dresidual)[kWidth]) {
  const int64_t x_rows = a.blocks * a.rows;
  int64_t to = at_row + l * x_rows;
  if (to >= a.residual_rows)
    to -= a.residual_rows;
  else if (kFork && a.residual_rows == x_rows)
    return;  // half of dy's rows: written once, after the second lane
  put(a.dresidual + to * a.channels + c, dresidual, a.accumulate_dresidual);
  for (int i = 0; i < kWidth; ++i) dresidual[i] = 0;
}

/// dx = ... + slope x + constant.
struct Term {
  float slope, constant;
};

/// From sums per channel to gradients.
struct FinishArguments {
  float* sums;  ///< [B, parts, lanes of a fork or 1, {g, g (x - mean)}, C]
  int64_t blocks;
  int64_t second_lane;  ///< without a fork: the first block of lane 1
  int parts, channels;
  Groups groups;
  Lane lane[2];
  NormTerms terms;
  float* dscale[2];  ///< [C], or null
  float* dshift[2];
  float inverse_count;  ///< 1 / M
  bool accumulate_affine;

  /// Sum of g xhat, from the sums of g and of g (x - mean of `of`). at: of mean and rstd.
  __device__ float times_xhat(const Lane& l, const Lane& of, int64_t at, float sum,
                              float product) const {
    return l.rstd[at] * fmaf(of.mean[at] - l.mean[at], sum, product);
  }
  /// s1, s2: sums of scale g and of scale g xhat over the statistic's elements and both lanes.
  __device__ Term term(const Lane& l, int64_t at, float s1, float s2) const {
    const float rstd = l.rstd[at] * inverse_count;
    const float slope = -rstd * l.rstd[at] * s2;
    return {slope, fmaf(-rstd, s1, -slope * l.mean[at])};
  }
  __device__ void put_terms(const Lane& l, int64_t at, float s1, float s2) const {
    if (terms.slope == nullptr) return;
    const Term t = term(l, at, s1, s2);
    terms.slope[at] = t.slope;
    terms.constant[at] = t.constant;
  }
  __device__ void put_affine(int of_lane, int c, float scale, float shift) const {
    if (float* to = dscale[of_lane]; to != nullptr)
      to[c] = accumulate_affine ? to[c] + scale : scale;
    if (float* to = dshift[of_lane]; to != nullptr)
      to[c] = accumulate_affine ? to[c] + shift : shift;
  }
};

/// One channel's sums over the parts, for each block of x in turn; then its gradients. Threads as
/// [heights][tile_channels].
template <int kWidth, int kLanes>
__device__ void finish_tile(const FinishArguments& f, float* exchange) {
  const int thread = gpu::thread_of_block();
  const int tile = static_cast<int>(blockDim.x) * kWidth;
  const int heights = gpu::threads_of_block() / tile;
  const int c = static_cast<int>(blockIdx.x) * tile + thread % tile;
  const bool split = kLanes == 1 && f.second_lane < f.blocks;
  for (int pass = 0; pass < (split ? 2 : 1); ++pass) {
    float dscale[kLanes] = {}, dshift[kLanes] = {};
    const Lane& own = pass == 0 ? f.lane[0] : f.lane[1];
    for (int64_t block = pass == 0 ? 0 : f.second_lane;
         block < (split && pass == 0 ? f.second_lane : f.blocks); ++block) {
      float total[2 * kLanes] = {};
      if (c < f.channels)
        for (int k = thread / tile; k < f.parts; k += heights)
          for (int q = 0; q < 2 * kLanes; ++q)
            total[q] += f.sums[((block * f.parts + k) * 2 * kLanes + q) * f.channels + c];
      gpu::merge_rows(total, tile, heights, exchange, gpu::AddFloats());
      if (thread >= tile || c >= f.channels) continue;
      const int64_t at = block * f.groups.count + c;
      float s1 = 0, s2 = 0;
      for (int l = 0; l < kLanes; ++l) {
        const Lane& lane = l == 0 ? own : f.lane[1];
        const float product = f.times_xhat(lane, own, at, total[2 * l], total[2 * l + 1]);
        const float scale = lane.scale == nullptr ? 1.0f : lane.scale[c];
        dshift[l] += total[2 * l];
        dscale[l] += product;
        s1 = fmaf(scale, total[2 * l], s1);
        s2 = fmaf(scale, product, s2);
      }
      f.put_terms(own, at, s1, s2);
    }
    if (thread < tile && c < f.channels)
      for (int l = 0; l < kLanes; ++l) f.put_affine(pass + l, c, dscale[l], dshift[l]);
  }
}

/// terms and lanes as the kernels have them; sums: where reductions leave theirs.
inline FinishArguments finish_arguments(const NormBackward& a, float* sums, int64_t parts,
                                        const NormTerms& terms) {
  const NormGeometry& g = a.geometry;
  const auto data = [](std::span<float> s) { return s.empty() ? nullptr : s.data(); };
  return {.sums = sums,
          .blocks = g.blocks,
          .second_lane = !a.fork && a.lanes == 2 ? g.blocks / 2 : g.blocks,
          .parts = static_cast<int>(parts),
          .channels = static_cast<int>(g.channels),
          .groups = groups_of(g),
          .lane = {device_lane(a.lane[0]), device_lane(a.lane[1])},
          .terms = terms,
          .dscale = {data(a.dscale[0]), data(a.dscale[1])},
          .dshift = {data(a.dshift[0]), data(a.dshift[1])},
          .inverse_count = 1.0f / static_cast<float>(g.group_size()),
          .accumulate_affine = a.accumulate_affine};
}
/// Gradients from sums that stand in memory: terms and affine, what of them is wanted.
void norm_backward_finish(CudaStream& stream, const NormBackward& a, const FinishArguments& f);

}  // namespace passnorm::kernels
