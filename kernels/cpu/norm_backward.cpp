#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm_backward.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/norm_blocks.hpp"
#include "kernels/cpu/simd-inl.hpp"
#include "kernels/runtime/parallel.hpp"
#include "kernels/runtime/scratch.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

/// The gradient passes where the activation's argument is above this.
float floor_of(NormActivation activation) {
  return activation == NormActivation::kIdentity ? -std::numeric_limits<float>::infinity() : 0.0f;
}

/// dy where the activation let through: u, or y > floor (of u + residual only the result is known).
/// NaN passes.
template <bool kMaskByY, class D, class V, class T>
HWY_INLINE V masked(D d, V x, const T* dy, const T* y, const float* multiplier, const float* addend,
                    V floor) {
  V u;
  if constexpr (kMaskByY)
    u = load(d, y);
  else
    u = hn::MulAdd(x, load(d, multiplier), load(d, addend));
  return hn::IfThenZeroElse(hn::Le(u, floor), load(d, dy));
}

/// Rows of one block and what they are reduced to. Lane 1 is there in a fork only.
template <class T>
struct ReduceRows {
  int64_t channels;
  const T* x;
  const T* dy[2];
  const T* y[2];
  const float* multiplier[2];
  const float* addend[2];
  const float* mean[2];
  float floor;
  float* sum[2];      // += g
  float* product[2];  // += g (x - mean)
};

template <int kRows, bool kFork, bool kMaskByY, class T>
HWY_INLINE void reduce_rows(const ReduceRows<T>& a, int64_t row) {
  const int64_t channels = a.channels, offset = row * channels;
  for_vectors(0, channels, [&](auto d, int64_t c) HWY_ATTR {
    const auto floor = hn::Set(d, a.floor);
    for (int l = 0; l < (kFork ? 2 : 1); ++l) {
      const auto mean = load(d, a.mean[l] + c);
      auto sum = hn::Zero(d), product = hn::Zero(d);
      for (int r = 0; r < kRows; ++r) {
        const int64_t i = offset + r * channels + c;
        const auto x = load(d, a.x + i);
        const auto g = masked<kMaskByY>(d, x, a.dy[l] + i, a.y[l] + i, a.multiplier[l] + c,
                                        a.addend[l] + c, floor);
        sum = hn::Add(sum, g);
        product = hn::MulAdd(g, hn::Sub(x, mean), product);
      }
      store(d, hn::Add(load(d, a.sum[l] + c), sum), a.sum[l] + c);
      store(d, hn::Add(load(d, a.product[l] + c), product), a.product[l] + c);
    }
  });
}

/// partial [blocks * chunks, lanes of a fork or 1, 2, C]: sums of g and of g (x - mean) per chunk.
template <class T, bool kFork, bool kMaskByY>
void reduce_typed(CpuStream& stream, const NormBackward& a, int64_t chunks, double* partial) {
  const NormGeometry& g = a.geometry;
  const int64_t channels = g.channels;
  constexpr int kLanes = kFork ? 2 : 1;
  const T* x = a.x.as<T>();
  const T* dy = a.dy.as<T>();
  const T* y = kMaskByY ? a.y.as<T>() : dy;
  const auto reduce_units = [&](int64_t first, int64_t last) {
    const Scratch<float> scratch(stream, kLanes * 5 * channels);
    ReduceRows<T> rows{};
    rows.channels = channels;
    rows.x = x;
    rows.floor = floor_of(a.activation);
    for (int l = 0; l < kLanes; ++l) {
      rows.dy[l] = dy + l * g.x_size();
      rows.y[l] = y + l * g.x_size();
      rows.sum[l] = scratch.data() + l * 2 * channels;
      rows.product[l] = rows.sum[l] + channels;
    }
    int64_t block_in_scratch = -1;
    for (int64_t unit = first; unit < last; ++unit) {
      const int64_t block = unit / chunks, chunk = unit % chunks;
      for (int l = 0; l < kLanes && block != block_in_scratch; ++l) {
        float* coefficients = scratch.data() + (kLanes * 2 + l * 3) * channels;
        const NormLane& lane = a.lane[static_cast<size_t>(lane_of(a, block, l))];
        norm_coefficients(g, lane, block, coefficients, coefficients + channels);
        spread_groups(g, lane.mean.data() + block * g.groups, coefficients + 2 * channels);
        rows.multiplier[l] = coefficients;
        rows.addend[l] = coefficients + channels;
        rows.mean[l] = coefficients + 2 * channels;
      }
      block_in_scratch = block;

      double* out = partial + unit * kLanes * 2 * channels;
      std::fill_n(out, kLanes * 2 * channels, 0.0);
      const int64_t begin = block * g.rows + g.rows * chunk / chunks;
      const int64_t end = block * g.rows + g.rows * (chunk + 1) / chunks;
      for (int64_t row = begin; row < end;) {
        const int64_t stop = std::min(end, row + kFlushRows);
        std::fill_n(scratch.data(), kLanes * 2 * channels, 0.0f);
        for (; row + 4 <= stop; row += 4) reduce_rows<4, kFork, kMaskByY>(rows, row);
        for (; row < stop; ++row) reduce_rows<1, kFork, kMaskByY>(rows, row);
        for (int64_t i = 0; i < kLanes * 2 * channels; ++i)
          out[i] += static_cast<double>(scratch.data()[i]);
      }
    }
  };
  parallel_for(stream, g.blocks * chunks, chunk_grain(g, chunks), reduce_units);
}

/// Rows of one block: dx = sum over lanes of multiplier g + slope x + constant. Lane 1 is there in
/// a fork only.
template <class T>
struct GradientRows {
  int64_t rows, channels;
  const T* x;
  const T* dy[2];
  const T* y[2];
  const float* multiplier[2];
  const float* addend[2];
  const float* slope;
  const float* constant;
  float floor;
  T* dx;            // null = not wanted
  T* dresidual[2];  // null = not wanted; in a fork with one pointer the lanes are added
  bool stream, accumulate_dx, accumulate_dresidual, dresidual_is_dy;
};

/// kPlain: dx is overwritten and there is no gradient of a residual.
template <class T, bool kFork, bool kMaskByY, bool kPlain>
void gradient_rows(const GradientRows<T>& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const int64_t offset = row * a.channels;
    for_vectors(0, a.channels, [&](auto d, int64_t c) HWY_ATTR {
      const int64_t i = offset + c;
      const auto x = load(d, a.x + i);
      const auto floor = hn::Set(d, a.floor);
      auto dx = hn::MulAdd(x, load(d, a.slope + c), load(d, a.constant + c));
      auto dresidual = hn::Zero(d);
      for (int l = 0; l < (kFork ? 2 : 1); ++l) {
        const auto g = masked<kMaskByY>(d, x, a.dy[l] + i, a.y[l] + i, a.multiplier[l] + c,
                                        a.addend[l] + c, floor);
        dx = hn::MulAdd(g, load(d, a.multiplier[l] + c), dx);
        if constexpr (!kPlain) {
          dresidual = hn::Add(dresidual, a.dresidual_is_dy ? load(d, a.dy[l] + i) : g);
          if (T* p = a.dresidual[l]; p != nullptr) {
            store(d, a.accumulate_dresidual ? hn::Add(load(d, p + i), dresidual) : dresidual,
                  p + i);
            dresidual = hn::Zero(d);
          }
        }
      }
      if constexpr (!kPlain) {
        if (a.dx == nullptr) return;
        if (a.accumulate_dx) dx = hn::Add(load(d, a.dx + i), dx);
      }
      if (a.stream)
        stream_store(d, dx, a.dx + i);
      else
        store(d, dx, a.dx + i);
    });
  }
  if (a.stream) hwy::FlushStream();
}

template <class T, bool kFork, bool kMaskByY, bool kPlain>
void gradient_typed(CpuStream& stream, const NormBackward& a, const float* slope,
                    const float* constant) {
  const NormGeometry& g = a.geometry;
  const int64_t rows = g.blocks * g.rows, channels = g.channels;
  const T* x = a.x.as<T>();
  const T* dy = a.dy.as<T>();
  const T* y = kMaskByY ? a.y.as<T>() : dy;
  T* dx = a.dx ? a.dx.as<T>() : nullptr;
  T* dresidual = a.dresidual ? a.dresidual.as<T>() : nullptr;
  const bool half = dresidual != nullptr && a.dresidual.size != a.dy.size;
  // Rows that share a row of the residual are walked by the same thread, the first part first.
  const int64_t parts = half && !kFork ? 2 : 1;
  const int64_t part_rows = rows / parts;
  GradientRows<T> all{};
  all.channels = channels;
  all.floor = floor_of(a.activation);
  all.stream = dx != nullptr && !a.accumulate_dx && can_stream(dx, channels, a.dx.size);
  all.accumulate_dx = a.accumulate_dx;
  all.dresidual_is_dy = a.activation == NormActivation::kReluThenAdd;

  const auto walk = [&](int64_t begin, int64_t end) {
    const Scratch<float> scratch(stream, parts * 6 * channels);
    int64_t block_of_part[2] = {-1, -1};  // whose coefficients stand in scratch
    for_tiles(g, parts, begin, end, [&](int64_t part, int64_t block, int64_t first, int64_t last) {
      float* coefficients = scratch.data() + part * 6 * channels;
      float* tile_slope = coefficients + 4 * channels;
      float* tile_constant = coefficients + 5 * channels;
      const bool fresh = block_of_part[part] != block;
      if (fresh) {
        spread_groups(g, slope + block * g.groups, tile_slope);
        spread_groups(g, constant + block * g.groups, tile_constant);
        block_of_part[part] = block;
      }
      GradientRows<T> tile = all;
      tile.rows = last - first;
      tile.x = x + first * channels;
      tile.slope = tile_slope;
      tile.constant = tile_constant;
      if (dx != nullptr) tile.dx = dx + first * channels;
      tile.accumulate_dresidual = a.accumulate_dresidual || part == 1;
      for (int l = 0; l < (kFork ? 2 : 1); ++l) {
        float* multiplier = coefficients + l * 2 * channels;
        float* addend = multiplier + channels;
        const NormLane& lane = a.lane[static_cast<size_t>(lane_of(a, block, l))];
        if (fresh) norm_coefficients(g, lane, block, multiplier, addend);
        tile.multiplier[l] = multiplier;
        tile.addend[l] = addend;
        const int64_t y_row = l * rows + first;
        const int64_t residual_row = half ? first - part * part_rows : y_row;
        tile.dy[l] = dy + y_row * channels;
        tile.y[l] = y + y_row * channels;
        // A half residual of a fork is written once, after the second lane.
        if (dresidual != nullptr && !(half && kFork && l == 0))
          tile.dresidual[l] = dresidual + residual_row * channels;
      }
      gradient_rows<T, kFork, kMaskByY, kPlain>(tile);
    });
  };
  parallel_for(stream, part_rows, tile_rows(g), walk);
}

/// Calls f(T, fork, mask_by_y) with the three as types.
template <class F>
void visit_kernel(const NormBackward& a, F&& f) {
  const bool mask_by_y = a.activation == NormActivation::kRelu && a.has_residual;
  visit_storage(a.x.dtype, [&](auto zero) {
    if (a.fork)
      mask_by_y ? f(zero, std::true_type(), std::true_type())
                : f(zero, std::true_type(), std::false_type());
    else
      mask_by_y ? f(zero, std::false_type(), std::true_type())
                : f(zero, std::false_type(), std::false_type());
  });
}

void reduce(CpuStream& stream, const NormBackward& a, int64_t chunks, double* partial) {
  visit_kernel(a, [&](auto zero, auto fork, auto mask_by_y) {
    reduce_typed<decltype(zero), fork.value, mask_by_y.value>(stream, a, chunks, partial);
  });
}

void gradient(CpuStream& stream, const NormBackward& a, const float* slope, const float* constant) {
  visit_kernel(a, [&](auto zero, auto fork, auto mask_by_y) {
    using T = decltype(zero);
    if (a.dresidual || !a.dx || a.accumulate_dx)
      gradient_typed<T, fork.value, mask_by_y.value, false>(stream, a, slope, constant);
    else
      gradient_typed<T, fork.value, mask_by_y.value, true>(stream, a, slope, constant);
  });
}

/// Groups [first, last) of a block: adds the chunks' sums into the first chunk's, turns g (x -
/// mean) into g xhat there, and finds the slope and constant of dx unless the statistics are fixed.
void finish_groups(const NormBackward& a, int64_t block, int64_t first, int64_t last,
                   int64_t chunks, double* partial, float* slope, float* constant) {
  const NormGeometry& g = a.geometry;
  const int64_t channels = g.channels, width = channels / g.groups;
  const int lanes = a.fork ? 2 : 1;
  for (int64_t k = 1; k < chunks; ++k)
    for (int64_t row = 0; row < lanes * 2; ++row) {
      double* HWY_RESTRICT to = partial + row * channels;
      const double* HWY_RESTRICT from = to + k * lanes * 2 * channels;
      for (int64_t c = first * width; c < last * width; ++c) to[c] += from[c];
    }
  const double inverse = 1.0 / static_cast<double>(g.group_size());
  for (int64_t i = first; i < last; ++i) {
    const int64_t at = block * g.groups + i;
    double s1 = 0, s2 = 0;  // sums of scale g and of scale g xhat
    for (int l = 0; l < lanes; ++l) {
      const NormLane& lane = a.lane[static_cast<size_t>(lane_of(a, block, l))];
      const float* scale = lane.scale.empty() ? nullptr : lane.scale.data();
      const double rstd = static_cast<double>(lane.rstd.data()[at]);
      double* sum = partial + l * 2 * channels;
      double* product = sum + channels;
      for (int64_t c = i * width; c < (i + 1) * width; ++c) {
        const double factor = scale == nullptr ? 1.0 : static_cast<double>(scale[c]);
        product[c] *= rstd;
        s1 += factor * sum[c];
        s2 += factor * product[c];
      }
    }
    if (a.fixed_statistics) continue;
    const NormLane& lane = a.lane[static_cast<size_t>(lane_of(a, block, 0))];
    const double mean = static_cast<double>(lane.mean.data()[at]),
                 rstd = static_cast<double>(lane.rstd.data()[at]);
    const double factor = -rstd * rstd * s2 * inverse;
    slope[at] = static_cast<float>(factor);
    constant[at] = static_cast<float>(-rstd * s1 * inverse - factor * mean);
  }
}

/// dscale and dshift of channels [first, last): the sum over the lane's blocks.
void finish_affine(const NormBackward& a, int64_t first, int64_t last, int64_t chunks,
                   const double* partial) {
  const NormGeometry& g = a.geometry;
  const int64_t channels = g.channels;
  const int lanes = a.fork ? 2 : 1;
  constexpr int64_t kStep = 128;
  for (; first < last; first += kStep) {
    const int64_t count = std::min(kStep, last - first);
    double dscale[2][kStep] = {}, dshift[2][kStep] = {};
    for (int64_t block = 0; block < g.blocks; ++block)
      for (int l = 0; l < lanes; ++l) {
        const auto lane = static_cast<size_t>(lane_of(a, block, l));
        const double* sum = partial + (block * chunks * lanes + l) * 2 * channels + first;
        for (int64_t c = 0; c < count; ++c) {
          dshift[lane][c] += sum[c];
          dscale[lane][c] += sum[channels + c];
        }
      }
    const auto put = [&](std::span<float> out, const double* value) {
      if (out.empty()) return;
      for (int64_t c = 0; c < count; ++c) {
        float& to = out[static_cast<size_t>(first + c)];
        to =
            static_cast<float>(a.accumulate_affine ? static_cast<double>(to) + value[c] : value[c]);
      }
    };
    for (size_t l = 0; l < static_cast<size_t>(a.lanes); ++l) {
      put(a.dscale[l], dscale[l]);
      put(a.dshift[l], dshift[l]);
    }
  }
}

void backward(CpuStream& stream, const NormBackward& a, bool affine) {
  const NormGeometry& g = a.geometry;
  const int64_t chunks = norm_chunks(g), chunk_size = (a.fork ? 2 : 1) * 2 * g.channels;
  const Scratch<float> terms(stream, 2 * g.statistics());
  float* slope = terms.data();
  float* constant = slope + g.statistics();
  std::fill_n(slope, 2 * g.statistics(), 0.0f);
  if (affine || (a.dx && !a.fixed_statistics)) {
    const Scratch<double> partial(stream, g.blocks * chunks * chunk_size);
    reduce(stream, a, chunks, partial.data());
    const int64_t grain = std::max<int64_t>(1, 8192 / (chunks * (g.channels / g.groups)));
    parallel_for(stream, g.statistics(), grain, [&](int64_t first, int64_t last) {
      for_groups(g, first, last, [&](int64_t block, int64_t begin, int64_t end) {
        finish_groups(a, block, begin, end, chunks, partial.data() + block * chunks * chunk_size,
                      slope, constant);
      });
    });
    if (affine)
      parallel_for(stream, g.channels, std::max<int64_t>(1, 8192 / g.blocks),
                   [&](int64_t first, int64_t last) {
                     finish_affine(a, first, last, chunks, partial.data());
                   });
  }
  if (a.dx || a.dresidual) gradient(stream, a, slope, constant);
}

}  // namespace
}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace passnorm::kernels {
namespace {
HWY_EXPORT(backward);
}  // namespace

void norm_backward(CpuStream& stream, const NormBackward& a) {
  check(a);
  norm_variant(a.variant, fits_one_read(stream, a));
  bool affine = false;
  for (size_t l = 0; l < static_cast<size_t>(a.lanes); ++l)
    affine |= !a.dscale[l].empty() || !a.dshift[l].empty();
  HWY_DYNAMIC_DISPATCH(backward)(stream, a, affine);
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
