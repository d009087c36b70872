#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm_apply.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/norm_blocks.hpp"
#include "kernels/cpu/simd-inl.hpp"
#include "kernels/runtime/parallel.hpp"
#include "kernels/runtime/scratch.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

enum class Residual { kNone, kBefore, kAfter };  // the activation

/// Rows of one block. Lane 1 is there in a fork only.
template <class T>
struct ApplyRows {
  int64_t rows, channels;
  const T* x;
  const T* residual[2];
  T* y[2];
  const float* multiplier[2];
  const float* addend[2];
  const float* residual_multiplier[2];
  const float* residual_addend[2];
  float floor;  // smaller values become this: 0, or minus infinity
  bool stream;
};

/// kNormalised: the residual has a norm of its own.
template <class T, bool kFork, Residual kResidual, bool kNormalised>
void apply_rows(const ApplyRows<T>& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const int64_t offset = row * a.channels;
    for_vectors(0, a.channels, [&](auto d, int64_t c) HWY_ATTR {
      const auto x = load(d, a.x + offset + c);
      const auto floor = hn::Set(d, a.floor);
      for (int l = 0; l < (kFork ? 2 : 1); ++l) {
        auto u = hn::MulAdd(x, load(d, a.multiplier[l] + c), load(d, a.addend[l] + c));
        auto residual = hn::Zero(d);
        if constexpr (kResidual != Residual::kNone) residual = load(d, a.residual[l] + offset + c);
        if constexpr (kNormalised)
          residual = hn::MulAdd(residual, load(d, a.residual_multiplier[l] + c),
                                load(d, a.residual_addend[l] + c));
        if constexpr (kResidual == Residual::kBefore) u = hn::Add(u, residual);
        u = hn::IfThenElse(hn::Lt(u, floor), floor, u);  // not a maximum: NaN stays
        if constexpr (kResidual == Residual::kAfter) u = hn::Add(u, residual);
        T* y = a.y[l] + offset + c;
        if (a.stream)
          stream_store(d, u, y);
        else
          store(d, u, y);
      }
    });
  }
  if (a.stream) hwy::FlushStream();
}

/// The lane of the residual's norm, by the block of y.
const NormLane& residual_lane_of(const NormApply& a, int64_t y_block) {
  const int64_t y_blocks = a.geometry.blocks * (a.fork ? 2 : 1);
  const bool second = !a.residual_lane[1].mean.empty() && y_block >= y_blocks / 2;
  return a.residual_lane[second ? 1 : 0];
}

template <class T, bool kFork, Residual kResidual, bool kNormalised>
void apply_typed(CpuStream& stream, const NormApply& a) {
  const NormGeometry& g = a.geometry;
  const int64_t rows = g.blocks * g.rows, channels = g.channels;
  const T* x = a.x.as<T>();
  T* y = a.y.as<T>();
  const T* residual = kResidual == Residual::kNone ? nullptr : a.residual.as<T>();
  const bool half = residual != nullptr && a.residual.size != a.y.size;
  // Rows that read the same residual are walked together: it is read from memory once.
  const int64_t parts = half && !kFork ? 2 : 1;
  const int64_t part_rows = rows / parts;
  const bool identity = a.activation == NormActivation::kIdentity;
  ApplyRows<T> all{};
  all.channels = channels;
  all.floor = identity ? -std::numeric_limits<float>::infinity() : 0.0f;
  all.stream = can_stream(y, channels, a.y.size);

  constexpr int64_t kLanes = kFork ? 2 : 1, kTables = kNormalised ? 4 : 2;
  const auto walk = [&](int64_t begin, int64_t end) {
    const Scratch<float> scratch(stream, parts * kLanes * kTables * channels);
    int64_t block_of_part[2] = {-1, -1};  // whose coefficients stand in scratch
    for_tiles(g, parts, begin, end, [&](int64_t part, int64_t block, int64_t first, int64_t last) {
      ApplyRows<T> tile = all;
      tile.rows = last - first;
      tile.x = x + first * channels;
      for (int l = 0; l < kLanes; ++l) {
        float* multiplier = scratch.data() + (part * kLanes + l) * kTables * channels;
        float* addend = multiplier + channels;
        const NormLane& lane = a.lane[static_cast<size_t>(lane_of(a, block, l))];
        if (block_of_part[part] != block) norm_coefficients(g, lane, block, multiplier, addend);
        tile.multiplier[l] = multiplier;
        tile.addend[l] = addend;
        const int64_t y_row = l * rows + first;
        const int64_t residual_row = half ? first - part * part_rows : y_row;
        tile.y[l] = y + y_row * channels;
        if (residual != nullptr) tile.residual[l] = residual + residual_row * channels;
        if constexpr (kNormalised) {
          float *own_multiplier = addend + channels, *own_addend = own_multiplier + channels;
          if (block_of_part[part] != block)
            norm_coefficients(g, residual_lane_of(a, y_row / g.rows), residual_row / g.rows,
                              own_multiplier, own_addend);
          tile.residual_multiplier[l] = own_multiplier;
          tile.residual_addend[l] = own_addend;
        }
      }
      block_of_part[part] = block;
      apply_rows<T, kFork, kResidual, kNormalised>(tile);
    });
  };
  parallel_for(stream, part_rows, tile_rows(g), walk);
}

template <class T, bool kFork>
void apply_residual(CpuStream& stream, const NormApply& a) {
  const auto with = [&]<Residual kResidual>() {
    if (a.normalises_residual())
      apply_typed<T, kFork, kResidual, true>(stream, a);
    else
      apply_typed<T, kFork, kResidual, false>(stream, a);
  };
  if (!a.residual)
    apply_typed<T, kFork, Residual::kNone, false>(stream, a);
  else if (a.activation == NormActivation::kReluThenAdd)
    with.template operator()<Residual::kAfter>();
  else
    with.template operator()<Residual::kBefore>();
}

void apply(CpuStream& stream, const NormApply& a) {
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (a.fork)
      apply_residual<T, true>(stream, a);
    else
      apply_residual<T, false>(stream, a);
  });
}

}  // namespace
}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace passnorm::kernels {
namespace {
HWY_EXPORT(apply);
}  // namespace

void norm_apply(CpuStream& stream, const NormApply& a) {
  check(a);
  HWY_DYNAMIC_DISPATCH(apply)(stream, a);
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
