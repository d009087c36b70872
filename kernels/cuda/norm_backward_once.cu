// norm_backward in one read of x and dy: slabs of both stay on the chip until the sums are known.
#include "kernels/cuda/norm_gradient.cuh"
#include "kernels/cuda/norm_slabs.cuh"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

using gpu::AddFloats;
using gpu::Shared;

/// Of a block at most: what the sums of two lanes leave of the registers.
constexpr int threads_of(bool fork) { return fork ? 256 : 512; }

template <class T>
struct OneReadArguments {
  BackwardArguments<T> backward;
  SlabArguments slabs;
  FinishArguments out;  ///< its sums are null when no affine gradient is wanted
  bool finish;          ///< the first block of a tile does, and another launch need not
  float* partial;       ///< [B, tiles, parts, {s1, s2}, tile_groups], when there are parts
};

template <class T, int kWidth, bool kFork, bool kMaskByY>
__global__ void __launch_bounds__(threads_of(kFork), 1)
    norm_backward_once_kernel(const __grid_constant__ OneReadArguments<T> a) {
  using Row = GradientRow<T, kWidth, kFork, kMaskByY>;
  using Chunk = gpu::Chunk<T, kWidth>;
  constexpr int kLanes = Row::kLanes, kUnroll = 2;
  constexpr int kValues = 2 * kLanes * kWidth, kThreads = threads_of(kFork);
  constexpr int kExchange =
      std::max(gpu::exchange_size(kValues, kColumns<kWidth>, kThreads), 2 * kLanes * kThreads);
  constexpr int kTile = kColumns<kWidth> * kWidth;
  static_assert((kExchange + 4 * kTile) * sizeof(float) <= kSlabOverhead);
  __shared__ Shared<float, kExchange> exchange;
  __shared__ Shared<float, kTile> s1, s2;           // of the columns: sums of scale g, scale g xhat
  __shared__ Shared<float, kTile> slope, constant;  // of the tile's groups
  Chunk* const kept = gpu::dynamic_shared<Chunk>();  // x, and g of each lane
  const BackwardArguments<T>& b = a.backward;
  const FinishArguments& f = a.out;
  const Slab slab(a.slabs, b.rows, b.channels);
  const int64_t block = slab.block;
  const int tensor = a.slabs.chunks * slab.threads;
  const int columns = static_cast<int>(blockDim.x), tile_groups = a.slabs.tile_groups;
  const int first_group = slab.tile * tile_groups;
  const Lane& own = !kFork && block >= b.second_lane ? b.lane[1] : b.lane[0];

  float sum1[kWidth] = {}, sum2[kWidth] = {};  // in the first row of threads
  slab.for_channels<kWidth>([&](int c, int slot) {
    float value[kValues] = {};
    if (c < slab.end) {
      float multiplier[kLanes][kWidth], addend[kLanes][kWidth], mean[kWidth];
      if constexpr (!kMaskByY)
        for (int l = 0; l < kLanes; ++l)
          coefficients(l == 0 ? own : b.lane[1], b.groups, block, c, multiplier[l], addend[l]);
      for (int i = 0; i < kWidth; ++i)
        mean[i] = own.mean[block * b.groups.count + b.groups.of(c, i)];
      for (int row = slab.first_row; row < b.rows; row += kUnroll * slab.stride) {
        Row operands[kUnroll];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
          // Past the end row 0 again: all loads are under way together.
          operands[u].read(b, b.blocks * b.rows,
                           slab.row_of_x(min(row + u * slab.stride, b.rows - 1)), b.channels, c,
                           [](const T* p) { return load_chunk_once<kWidth>(p); });
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
          if (row + u * slab.stride >= b.rows) break;
          const Row& o = operands[u];
          kept[slot] = o.x;
          float dresidual[kWidth] = {};
#pragma unroll
          for (int l = 0; l < kLanes; ++l) {
            Chunk gradient;
            for (int i = 0; i < kWidth; ++i) {
              const float g = o.gradient(l, i, multiplier, addend, b.floor);
              add_products<kWidth>(value, l, i, g, at(o.x, i) - mean[i]);
              dresidual[i] += b.dresidual_is_dy ? at(o.dy[l], i) : g;
              gradient.v[i] = gpu::from_float<T>(g);  // exact: dy's element, or 0
            }
            kept[slot + (1 + l) * tensor] = gradient;
            if (b.dresidual != nullptr)
              put_residual<kFork>(b, slab.row_of_x(row + u * slab.stride), l, c, dresidual);
          }
          slot += slab.threads;
        }
      }
    }
    gpu::merge_rows(value, columns, static_cast<int>(blockDim.y), &exchange[0], AddFloats());
    if (threadIdx.y != 0 || c >= slab.end) return;
    for (int i = 0; i < kWidth; ++i) {
      const int64_t at_statistic = block * b.groups.count + b.groups.of(c, i);
      for (int l = 0; l < kLanes; ++l) {
        const Lane& lane = l == 0 ? own : b.lane[1];
        const float scale = lane.scale == nullptr ? 1.0f : lane.scale[c + i];
        const float sum = value[2 * l * kWidth + i], product = value[(2 * l + 1) * kWidth + i];
        sum1[i] = fmaf(scale, sum, sum1[i]);
        sum2[i] = fmaf(scale, f.times_xhat(lane, own, at_statistic, sum, product), sum2[i]);
        if (f.sums == nullptr) continue;
        float* to =
            f.sums + ((block * slab.parts + slab.part) * 2 * kLanes + 2 * l) * b.channels + c + i;
        to[0] = sum;
        to[b.channels] = product;
      }
    }
  });
  if (threadIdx.y == 0)
    for (int i = 0; i < kWidth; ++i) {
      s1[static_cast<int>(threadIdx.x) * kWidth + i] = sum1[i];
      s2[static_cast<int>(threadIdx.x) * kWidth + i] = sum2[i];
    }
  __syncthreads();

  const auto put_term = [&](int group, float total1, float total2) {
    const Term t = f.term(own, block * b.groups.count + first_group + group, total1, total2);
    slope[group] = t.slope;
    constant[group] = t.constant;
  };
  float* const partial = a.partial + (block * gridDim.x + slab.tile) * slab.parts * 2 * tile_groups;
  const int members = min(b.groups.width, columns * kWidth);  // of s1 and s2 behind a group
  for (int group = gpu::thread_of_block(); group < tile_groups; group += slab.threads) {
    if (first_group + group >= b.groups.count) break;
    float total1 = 0, total2 = 0;
    for (int k = group * members; k < (group + 1) * members; ++k) total1 += s1[k], total2 += s2[k];
    if (slab.parts == 1) {
      put_term(group, total1, total2);
    } else {
      float* to = partial + slab.part * 2 * tile_groups + group;
      to[0] = total1;
      to[tile_groups] = total2;
    }
  }
  if (slab.parts > 1) {
    gpu::grid_barrier();
    const int group = gpu::thread_of_block() % tile_groups;
    const int heights = slab.threads / tile_groups;
    float total[2] = {};
    for (int k = gpu::thread_of_block() / tile_groups; k < slab.parts; k += heights)
      for (int q = 0; q < 2; ++q) total[q] += partial[(k * 2 + q) * tile_groups + group];
    gpu::merge_rows(total, tile_groups, heights, &exchange[0], AddFloats());
    if (gpu::thread_of_block() < tile_groups && first_group + group < b.groups.count)
      put_term(group, total[0], total[1]);
  }
  __syncthreads();

  slab.for_channels<kWidth>([&](int c, int slot) {
    if (c >= slab.end) return;
    float multiplier[kLanes][kWidth], addend[kLanes][kWidth];
    for (int l = 0; l < kLanes; ++l)
      coefficients(l == 0 ? own : b.lane[1], b.groups, block, c, multiplier[l], addend[l]);
    for (int row = slab.first_row; row < b.rows; row += slab.stride, slot += slab.threads) {
      const Chunk x = kept[slot];
      float dx[kWidth];
      for (int i = 0; i < kWidth; ++i) {
        const int group = b.groups.of(c, i) - first_group;
        dx[i] = fmaf(at(x, i), slope[group], constant[group]);
      }
      for (int l = 0; l < kLanes; ++l) {
        const Chunk g = kept[slot + (1 + l) * tensor];
        for (int i = 0; i < kWidth; ++i) dx[i] = fmaf(at(g, i), multiplier[l][i], dx[i]);
      }
      put(b.dx + slab.row_of_x(row) * b.channels + c, dx, b.accumulate_dx);
    }
  });
  if (a.finish && slab.part == 0 && block == 0) finish_tile<kWidth, kLanes>(f, &exchange[0]);
}

template <class T, int kWidth, bool kFork>
std::optional<NormSlabs> slabs_of(const CudaStream& stream, const NormGeometry& g) {
  return norm_slabs(g, sizeof(T), kWidth, kColumns<kWidth>, kFork ? 3 : 2, threads_of(kFork),
                    chip_of(stream));
}

template <class T, int kWidth, bool kFork, bool kMaskByY>
void backward(CudaStream& stream, const NormBackward& s) {
  const NormGeometry& g = s.geometry;
  const std::optional<NormSlabs> slabs = slabs_of<T, kWidth, kFork>(stream, g);
  const bool affine = wants_affine(s);
  const Scratch<float> sums(stream,
                            affine ? g.blocks * slabs->parts * (kFork ? 4 : 2) * g.channels : 0);
  const Scratch<float> partial(
      stream,
      slabs->cooperative() ? g.blocks * slabs->tiles * slabs->parts * 2 * slabs->tile_groups : 0);
  // A channel behind a statistic, and all sums there: after the barrier, or by the only block.
  const bool one_launch =
      g.groups == g.channels && (slabs->cooperative() ? g.blocks <= 2 : g.blocks == 1);
  const OneReadArguments<T> a{.backward = backward_arguments<T>(s, {}),
                              .slabs = slab_arguments(*slabs, g),
                              .out = finish_arguments(s, sums.data(), slabs->parts, {}),
                              .finish = affine && one_launch,
                              .partial = partial.data()};
  launch_slabs(stream, norm_backward_once_kernel<T, kWidth, kFork, kMaskByY>, *slabs, g, a);
  if (affine && !one_launch) norm_backward_finish(stream, s, a.out);
}

}  // namespace

bool fits_one_read(const CudaStream& stream, const NormBackward& a) {
  // With fixed statistics nothing waits for the sums. Rows in different halves of dy that share a
  // row of the residual lie in different slabs.
  if (!a.dx || a.fixed_statistics) return false;
  if (!a.fork && a.dresidual && a.dresidual.size != a.dy.size) return false;
  bool fits = false;
  visit_norm_backward(a, [&](auto zero, auto width, auto fork, auto) {
    fits = slabs_of<decltype(zero), width, fork>(stream, a.geometry).has_value();
  });
  return fits;
}

void norm_backward_in_one_read(CudaStream& stream, const NormBackward& a) {
  visit_norm_backward(a, [&](auto zero, auto width, auto fork, auto mask_by_y) {
    backward<decltype(zero), width, fork, mask_by_y>(stream, a);
  });
}

}  // namespace passnorm::kernels
