#include "kernels/cuda/norm.cuh"

namespace passnorm::kernels {
namespace {

enum class Residual { kNone, kAsItIs, kNormalised };

constexpr int kThreads = 256;
/// Blocks on a multiprocessor: what the coefficients leave of its registers.
constexpr int blocks_of_processor(bool fork, Residual residual) {
  if (fork || residual == Residual::kNormalised) return 2;
  return residual == Residual::kAsItIs ? 3 : 4;
}

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

template <class T, int kWidth, bool kFork, Residual kResidual>
__global__ void __launch_bounds__(kThreads, blocks_of_processor(kFork, kResidual))
    norm_apply_kernel(const __grid_constant__ ApplyArguments<T> a) {
  constexpr bool kAdds = kResidual != Residual::kNone,
                 kNormalises = kResidual == Residual::kNormalised;
  constexpr int kLanes = kFork ? 2 : 1, kUnroll = kFork && kAdds ? 2 : 4;
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kWidth;
  if (c >= a.channels) return;
  const int first_row = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
  const int stride = static_cast<int>(gridDim.y * blockDim.y);
  for (int64_t block = int64_t{blockIdx.z} * blockDim.z + threadIdx.z; block < a.blocks;
       block += int64_t{gridDim.z} * blockDim.z) {
    float multiplier[kLanes][kWidth], addend[kLanes][kWidth];
    for (int l = 0; l < kLanes; ++l) {
      const bool second = kFork ? l == 1 : block >= a.second_lane;
      coefficients(second ? a.lane[1] : a.lane[0], a.groups, block, c, multiplier[l], addend[l]);
    }
    float own_multiplier[kNormalises ? kLanes : 1][kWidth],
        own_addend[kNormalises ? kLanes : 1][kWidth];  // of the residual
    if constexpr (kNormalises)
      for (int l = 0; l < kLanes; ++l) {
        const int64_t y_block = block + l * a.blocks, blocks = a.residual_rows / a.rows;
        const bool second = y_block >= a.second_residual_lane;
        coefficients(second ? a.residual_lane[1] : a.residual_lane[0], a.groups,
                     y_block >= blocks ? y_block - blocks : y_block, c, own_multiplier[l],
                     own_addend[l]);
      }
    for (int row = first_row; row < a.rows; row += kUnroll * stride) {
      gpu::Chunk<T, kWidth> x[kUnroll], residual[kAdds ? kUnroll : 1][kLanes];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        // Past the end the last row again: all loads are under way together.
        const int64_t at_row = block * a.rows + min(row + u * stride, a.rows - 1);
        x[u] = load_chunk_once<kWidth>(a.x + at_row * a.channels + c);
        if constexpr (kAdds)
          for (int l = 0; l < kLanes; ++l) {
            int64_t from = at_row + l * a.blocks * a.rows;
            if (from >= a.residual_rows) from -= a.residual_rows;
            residual[u][l] = gpu::load_chunk<kWidth>(a.residual + from * a.channels + c);
          }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (row + u * stride >= a.rows) break;
        const int64_t at_row = block * a.rows + row + u * stride;
        for (int l = 0; l < kLanes; ++l) {
          float y[kWidth];
          for (int i = 0; i < kWidth; ++i) {
            y[i] = fmaf(at(x[u], i), multiplier[l][i], addend[l][i]);
            if constexpr (kAdds) {
              float r = at(residual[u][l], i);
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
    }
  }
}

template <class T, int kWidth, bool kFork, Residual kResidual>
void apply(CudaStream& stream, const NormApply& s) {
  const NormGeometry& g = s.geometry;
  const int64_t y_blocks = g.blocks * (s.fork ? 2 : 1);
  const int64_t columns = norm_columns(g.channels, kWidth);
  const NormWalk walk =
      norm_walk(g, gpu::ceil_div(g.channels, columns * kWidth), columns, kThreads,
                int64_t{blocks_of_processor(kFork, kResidual)} * stream.multiprocessors());
  gpu::launch(
      stream, norm_apply_kernel<T, kWidth, kFork, kResidual>, walk.grid, walk.block, 0,
      ApplyArguments<T>{
          .x = s.x.as<T>(),
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
          .add_after = s.activation == NormActivation::kReluThenAdd});
}

}  // namespace

void norm_apply(CudaStream& stream, const NormApply& a) {
  check(a);
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kWide = gpu::Pack<T>::kSize;
    const bool wide = divides<kWide>(a.geometry, {a.x.data, a.residual.data, a.y.data});
    gpu::visit_width<kWide>(wide, [&](auto width) {
      const auto with = [&]<Residual kResidual>() {
        a.fork ? apply<T, width, true, kResidual>(stream, a)
               : apply<T, width, false, kResidual>(stream, a);
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
