// What an apply does with a chunk of x on the GPU.
#pragma once

#include "kernels/cuda/norm.cuh"

namespace passnorm::kernels {

enum class Residual { kNone, kAsItIs, kNormalised };

template <class T>
struct ApplyArguments {
  const T* x;         ///< [B, R, C]
  const T* residual;  ///< [residual_rows, C], or null
  T* y;               ///< [B, R, C], in a fork [2, B, R, C]
  Lane lane[2];
  Lane residual_lane[2];  ///< the residual's own norm
  int64_t blocks;
  int64_t second_lane;           ///< without a fork: the first block of lane 1
  int64_t second_residual_lane;  ///< the first block of y with residual_lane 1
  int64_t residual_rows;         ///< all rows of y, or half of them: both halves of y read the same
  int rows, channels;
  Groups groups;
  float floor;     ///< smaller values become this: 0, or minus infinity
  bool add_after;  ///< the residual, after the activation
};
template <class T>
ApplyArguments<T> apply_arguments(const NormApply& s) {
  const NormGeometry& g = s.geometry;
  const int64_t y_blocks = g.blocks * (s.fork ? 2 : 1);
  return {.x = s.x.as<T>(),
          .residual = s.residual ? s.residual.as<T>() : nullptr,
          .y = s.y.as<T>(),
          .lane = {device_lane(s.lane[0]), device_lane(s.lane[1])},
          .residual_lane = {device_lane(s.residual_lane[0]), device_lane(s.residual_lane[1])},
          .blocks = g.blocks,
          .second_lane = s.lanes == 2 ? g.blocks / 2 : g.blocks,
          .second_residual_lane = s.residual_lane[1].mean.empty() ? y_blocks : y_blocks / 2,
          .residual_rows = s.residual.size / g.channels,
          .rows = static_cast<int>(g.rows),
          .channels = static_cast<int>(g.channels),
          .groups = groups_of(g),
          .floor = norm_floor(s.activation),
          .add_after = s.activation == NormActivation::kReluThenAdd};
}

/// What a thread keeps for kWidth channels of a block of x.
template <class T, int kWidth, bool kFork, Residual kResidual>
struct Applied {
  static constexpr bool kAdds = kResidual != Residual::kNone,
                        kNormalises = kResidual == Residual::kNormalised;
  static constexpr int kLanes = kFork ? 2 : 1;
  using Chunk = gpu::Chunk<T, kWidth>;

  float multiplier[kLanes][kWidth], addend[kLanes][kWidth];
  float own_multiplier[kNormalises ? kLanes : 1][kWidth],
      own_addend[kNormalises ? kLanes : 1][kWidth];  ///< of the residual's norm

  /// The affine of lane l of a block.
  __device__ static const Lane& lane_of(const ApplyArguments<T>& a, int64_t block, int l) {
    return (kFork ? l == 1 : block >= a.second_lane) ? a.lane[1] : a.lane[0];
  }
  __device__ __forceinline__ void prepare_residual(const ApplyArguments<T>& a, int64_t block,
                                                   int c) {
    if constexpr (kNormalises)
      for (int l = 0; l < kLanes; ++l) {
        const int64_t y_block = block + l * a.blocks, blocks = a.residual_rows / a.rows;
        const bool second = y_block >= a.second_residual_lane;
        coefficients(second ? a.residual_lane[1] : a.residual_lane[0], a.groups,
                     y_block >= blocks ? y_block - blocks : y_block, c, own_multiplier[l],
                     own_addend[l]);
      }
  }
  /// What is added to row at_row of x.
  __device__ __forceinline__ static void load_residual(const ApplyArguments<T>& a, int64_t at_row,
                                                       int c, Chunk (&residual)[kLanes]) {
    for (int l = 0; l < kLanes; ++l) {
      int64_t from = at_row + l * a.blocks * a.rows;
      if (from >= a.residual_rows) from -= a.residual_rows;
      residual[l] = gpu::load_chunk<kWidth>(a.residual + from * a.channels + c);
    }
  }
  __device__ __forceinline__ void store(const ApplyArguments<T>& a, int64_t at_row, int c,
                                        const Chunk& x, const Chunk (&residual)[kLanes]) const {
    for (int l = 0; l < kLanes; ++l) {
      float y[kWidth];
      for (int i = 0; i < kWidth; ++i) {
        y[i] = fmaf(at(x, i), multiplier[l][i], addend[l][i]);
        if constexpr (kAdds) {
          float r = at(residual[l], i);
          if constexpr (kNormalises) r = fmaf(r, own_multiplier[l][i], own_addend[l][i]);
          if (!a.add_after) y[i] += r;
          y[i] = y[i] < a.floor ? a.floor : y[i];  // not a maximum: NaN stays
          if (a.add_after) y[i] += r;
        } else {
          y[i] = y[i] < a.floor ? a.floor : y[i];
        }
      }
      store_floats(a.y + (at_row + l * a.blocks * a.rows) * a.channels + c, y);
    }
  }
};

/// Calls f.template operator()<T, width of a chunk, fork, Residual>().
template <class F>
void visit_norm_apply(const NormApply& a, F&& f) {
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kWide = gpu::Pack<T>::kSize;
    const bool wide = divides<kWide>(a.geometry, {a.x.data, a.residual.data, a.y.data});
    gpu::visit_width<kWide>(wide, [&](auto width) {
      const auto with = [&]<Residual kResidual>() {
        a.fork ? f.template operator()<T, width, true, kResidual>()
               : f.template operator()<T, width, false, kResidual>();
      };
      if (!a.residual)
        with.template operator()<Residual::kNone>();
      else if (a.normalises_residual())
        with.template operator()<Residual::kNormalised>();
      else
        with.template operator()<Residual::kAsItIs>();
    });
  });
}

}  // namespace passnorm::kernels
