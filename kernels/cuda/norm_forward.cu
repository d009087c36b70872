// Training forward in one read of x: statistics from slabs that stay on the chip, and apply to
// them.
#include "kernels/cuda/cooperative.cuh"
#include "kernels/cuda/norm_apply.cuh"
#include "kernels/cuda/norm_moments.cuh"
#include "kernels/cuda/norm_slabs.cuh"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

using gpu::Shared;

constexpr int kThreads = 512;  // of a block at most

template <class T>
struct ForwardArguments {
  ApplyArguments<T> apply;
  SlabArguments slabs;
  StatisticsOutput out;
  RunningAverages running[2];
  int64_t running_from[2];  ///< the statistic of their first channel
  float* partial;  ///< [B, tiles, parts, {mean, deviation}, tile_groups], when there are parts
};

template <class T, int kWidth, bool kFork, Residual kResidual>
__global__ void __launch_bounds__(kThreads, 1)
    norm_forward_kernel(const __grid_constant__ ForwardArguments<T> a) {
  using Rows = Applied<T, kWidth, kFork, kResidual>;
  using Chunk = gpu::Chunk<T, kWidth>;
  constexpr int kUnroll = kFork && Rows::kAdds ? 2 : 4, kLoads = 8;
  constexpr int kExchange =
      std::max(moments_exchange<kWidth, false>(kThreads), moments_exchange<kWidth, true>(kThreads));
  constexpr int kTile = kColumns<kWidth> * kWidth;
  static_assert((kExchange + 2 * kTile) * sizeof(float) <= kSlabOverhead);
  __shared__ Shared<float, kExchange> exchange;
  __shared__ Shared<float, kTile> mean, rstd;  // of the tile's groups
  Chunk* const kept = gpu::dynamic_shared<Chunk>();
  const ApplyArguments<T>& f = a.apply;
  const Slab slab(a.slabs, f.rows, f.channels);
  const int64_t block = slab.block;
  const auto origin = [&](int group) {
    return set_origin(f.x, f.rows, f.channels, f.groups, block, group);
  };

  ShiftedSums<kWidth> sums;
  slab.for_channels<kWidth>([&](int c, int slot) {
    if (c >= slab.end || slab.first_row >= f.rows) return;
    const T* x = f.x + c;
    sums.expect((f.rows - slab.first_row + slab.stride - 1) / slab.stride,
                gpu::load_chunk<kWidth>(x + slab.row_of_x(slab.first_row) * f.channels));
    for (int row = slab.first_row; row < f.rows; row += kLoads * slab.stride) {
      Chunk loaded[kLoads];
#pragma unroll
      for (int u = 0; u < kLoads; ++u)  // past the end this row again: no branch
        loaded[u] = load_chunk_once<kWidth>(
            x + slab.row_of_x(row + u * slab.stride < f.rows ? row + u * slab.stride : row) *
                    f.channels);
#pragma unroll
      for (int u = 0; u < kLoads; ++u) {
        if (row + u * slab.stride >= f.rows) break;
        sums.add(loaded[u]);
        kept[slot] = loaded[u];
        slot += slab.threads;
      }
    }
  });

  float channel[1 + 2 * kWidth];
  sums.moments(channel, [&](int i) {
    return origin(f.groups.of(slab.first + static_cast<int>(threadIdx.x) * kWidth, i));
  });
  const int first_group = slab.tile * a.slabs.tile_groups;
  const auto put = [&](int group, float distance, float deviation) {
    const int64_t at = block * f.groups.count + first_group + group;
    const Statistic s = a.out.statistic(origin(first_group + group) + distance, deviation);
    mean[group] = s.mean;
    rstd[group] = s.rstd;
    if (slab.part != 0) return;  // all parts have the same
    a.out.put(at, s);
    for (int i = 0; i < 2; ++i)
      if (const int64_t c = at - a.running_from[i];
          a.running[i].mean != nullptr && c >= 0 && c < f.channels)
        a.running[i].update(static_cast<int>(c), s.mean, s.var);
  };
  float* const partial =
      a.partial + (block * gridDim.x + slab.tile) * slab.parts * 2 * a.slabs.tile_groups;
  const auto emit = [&](int, int group, float distance, float deviation) {
    if (first_group + group >= f.groups.count) return;
    if (slab.parts == 1) return put(group, distance, deviation);
    float* to = partial + slab.part * 2 * a.slabs.tile_groups + group;
    to[0] = distance;
    to[a.slabs.tile_groups] = deviation;
  };
  if (kWidth > 1 && f.groups.width == 1)
    merge_tile<kWidth, false>(channel, a.slabs.tile_groups, 1, &exchange[0], emit);
  else
    merge_tile<kWidth, true>(channel, a.slabs.tile_groups, f.groups.width, &exchange[0], emit);
  if (slab.parts > 1) {
    gpu::grid_barrier();
    float set[3];
    merge_parts(partial, slab.parts, a.slabs.tile_groups, f.rows, f.groups.width, &exchange[0],
                set);
    if (const int group = gpu::thread_of_block();
        group < a.slabs.tile_groups && first_group + group < f.groups.count)
      put(group, set[1], set[2]);
  }
  __syncthreads();

  slab.for_channels<kWidth>([&](int c, int slot) {
    if (c >= slab.end) return;
    Rows applied;
    for (int l = 0; l < Rows::kLanes; ++l)
      coefficients(Rows::lane_of(f, block, l), f.groups, &mean[0], &rstd[0], first_group, c,
                   applied.multiplier[l], applied.addend[l]);
    applied.prepare_residual(f, block, c);
    for (int row = slab.first_row; row < f.rows; row += kUnroll * slab.stride) {
      Chunk residual[kUnroll][Rows::kLanes];
      if constexpr (Rows::kAdds)
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
          Rows::load_residual(f, slab.row_of_x(min(row + u * slab.stride, f.rows - 1)), c,
                              residual[u]);
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (row + u * slab.stride >= f.rows) break;
        applied.store(f, slab.row_of_x(row + u * slab.stride), c, kept[slot], residual[u]);
        slot += slab.threads;
      }
    }
  });
}

template <class T, int kWidth>
std::optional<NormSlabs> slabs_of(const CudaStream& stream, const NormGeometry& g) {
  return norm_slabs(g, sizeof(T), kWidth, kColumns<kWidth>, 1, kThreads, chip_of(stream));
}

template <class T, int kWidth, bool kFork, Residual kResidual>
void forward(CudaStream& stream, const NormForward& s) {
  const NormGeometry& g = s.statistics.geometry;
  const std::optional<NormSlabs> slabs = slabs_of<T, kWidth>(stream, g);
  const Scratch<float> partial(
      stream,
      slabs->cooperative() ? g.blocks * slabs->tiles * slabs->parts * 2 * slabs->tile_groups : 0);
  ForwardArguments<T> a{.apply = apply_arguments<T>(s.apply),
                        .slabs = slab_arguments(*slabs, g),
                        .out = statistics_output(s.statistics),
                        .running = {},
                        .running_from = {},
                        .partial = partial.data()};
  // Two updates of the same averages follow each other.
  const bool one_after_the_other =
      s.running[1].running_mean.data() == s.running[0].running_mean.data();
  for (size_t i = 0; i < (one_after_the_other ? 1 : 2); ++i) {
    if (s.running[i].channels == 0) continue;
    a.running[i] = running_averages(s.running[i]);
    a.running_from[i] = s.running[i].mean.data() - s.statistics.mean.data();
  }
  launch_slabs(stream, norm_forward_kernel<T, kWidth, kFork, kResidual>, *slabs, g, a);
  if (one_after_the_other && s.running[1].channels > 0) norm_update_running(stream, s.running[1]);
}

}  // namespace

bool fits_one_read(const CudaStream& stream, const NormForward& a) {
  if (!a.statistics.sums.empty()) return false;  // then x is read once by two passes too
  bool fits = false;
  visit_norm_apply(a.apply, [&]<class T, int kWidth, bool, Residual>() {
    fits = slabs_of<T, kWidth>(stream, a.statistics.geometry).has_value();
  });
  return fits;
}

void norm_forward(CudaStream& stream, const NormForward& a) {
  check(a);
  if (norm_variant(a.variant, fits_one_read(stream, a)) == NormVariant::kTwoPass)
    return norm_forward_in_two_passes(stream, a);
  visit_norm_apply(a.apply, [&]<class T, int kWidth, bool kFork, Residual kResidual>() {
    forward<T, kWidth, kFork, kResidual>(stream, a);
  });
}

}  // namespace passnorm::kernels
