#include "kernels/norm_pool.hpp"

#include <cmath>
#include <limits>

#include "kernels/cuda/norm.cuh"
#include "kernels/cuda/pooling.cuh"

namespace passnorm::kernels {
namespace {

constexpr int kThreads = 256, kBlocksOfProcessor = 2;

template <class T>
struct NormPoolArguments {
  const T* x;  ///< [N, H, W, C]
  T* y;        ///< [N, OH, OW, C], in a fork [2, N, OH, OW, C]
  uint8_t* argmax;
  Lane lane[2];
  int64_t blocks;
  int64_t second_lane;  ///< without a fork: the first block of lane 1
  int rows;             ///< windows of a block
  Groups groups;
  Windows windows;
  float floor;  ///< smaller values become this: 0, or minus infinity
};

/// Walks over y as norm_apply does: a thread keeps its channels' coefficients for many windows.
template <class T, int kWidth, bool kFork, int kSize>
__global__ void __launch_bounds__(kThreads, kBlocksOfProcessor)
    norm_pool_forward_kernel(const __grid_constant__ NormPoolArguments<T> a) {
  constexpr int kLanes = kFork ? 2 : 1;
  const Windows& g = a.windows;
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kWidth;
  if (c >= g.c) return;
  const int first_row = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
  const int stride = static_cast<int>(gridDim.y * blockDim.y);
  for (int64_t block = int64_t{blockIdx.z} * blockDim.z + threadIdx.z; block < a.blocks;
       block += int64_t{gridDim.z} * blockDim.z) {
    float multiplier[kLanes][kWidth], addend[kLanes][kWidth];
    for (int l = 0; l < kLanes; ++l) {
      const bool second = kFork ? l == 1 : block >= a.second_lane;
      coefficients(second ? a.lane[1] : a.lane[0], a.groups, block, c, multiplier[l], addend[l]);
    }
    for (int row = first_row; row < a.rows; row += stride) {
      const int64_t window = block * a.rows + row;  // of [N, OH, OW]
      const int j = row % g.ow, i = row / g.ow % g.oh;
      const int64_t image = window / (g.oh * g.ow);
      const int top = i * g.stride - g.pad, left = j * g.stride - g.pad;
      const T* x = a.x + image * g.h * g.w * g.c + c;
      float best[kLanes][kWidth];
      int index[kLanes][kWidth];
      for (int l = 0; l < kLanes; ++l)
        for (int k = 0; k < kWidth; ++k)
          best[l][k] = -INFINITY, index[l][k] = first_tap(g, top, left);
      for_each_tap<kSize>(g, top, left, [&](int from_row, int from_column, int tap, bool inside) {
        const auto v = gpu::load_chunk<kWidth>(x + (int64_t{from_row} * g.w + from_column) * g.c);
        for (int l = 0; l < kLanes; ++l)
          for (int k = 0; k < kWidth; ++k) {
            float u = fmaf(at(v, k), multiplier[l][k], addend[l][k]);
            u = u < a.floor ? a.floor : u;  // not a maximum: NaN stays
            u = gpu::to_float(gpu::from_float<T>(u));
            if (inside && exceeds(u, best[l][k])) best[l][k] = u, index[l][k] = tap;
          }
      });
      for (int l = 0; l < kLanes; ++l) {
        const int64_t to = (l * a.blocks * a.rows + window) * g.c + c;
        store_floats(a.y + to, best[l]);
        gpu::Chunk<uint8_t, kWidth> position;
        for (int k = 0; k < kWidth; ++k) position.v[k] = static_cast<uint8_t>(index[l][k]);
        gpu::store_chunk(a.argmax + to, position);
      }
    }
  }
}

template <class T, int kWidth, bool kFork, int kSize>
void forward(CudaStream& stream, const NormPoolForward& s) {
  NormGeometry pooled = s.norm;
  pooled.rows = s.norm.rows / (s.pool.h * s.pool.w) * s.pool.oh() * s.pool.ow();
  const int64_t columns = norm_columns(pooled.channels, kWidth);
  const NormWalk walk = norm_walk(pooled, gpu::ceil_div(pooled.channels, columns * kWidth), columns,
                                  kThreads, int64_t{kBlocksOfProcessor} * stream.multiprocessors());
  const bool identity = s.activation == NormActivation::kIdentity;
  gpu::launch(
      stream, norm_pool_forward_kernel<T, kWidth, kFork, kSize>, walk.grid, walk.block, 0,
      NormPoolArguments<T>{.x = s.x.as<T>(),
                           .y = s.y.as<T>(),
                           .argmax = s.argmax.data(),
                           .lane = {device_lane(s.lane[0]), device_lane(s.lane[1])},
                           .blocks = pooled.blocks,
                           .second_lane = s.lanes == 2 ? pooled.blocks / 2 : pooled.blocks,
                           .rows = static_cast<int>(pooled.rows),
                           .groups = groups_of(pooled),
                           .windows = windows_of(s.pool),
                           .floor = identity ? -std::numeric_limits<float>::infinity() : 0.0f});
}

template <class T, int kWidth, bool kFork>
void forward_size(CudaStream& stream, const NormPoolForward& a) {
  a.pool.size == 2   ? forward<T, kWidth, kFork, 2>(stream, a)
  : a.pool.size == 3 ? forward<T, kWidth, kFork, 3>(stream, a)
                     : forward<T, kWidth, kFork, 0>(stream, a);
}

}  // namespace

void norm_pool_forward(CudaStream& stream, const NormPoolForward& a) {
  check(a);
  if (a.y.size == 0) return;
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kWide = gpu::Pack<T>::kSize;
    const bool wide = divides<kWide>(a.norm, {a.x.data, a.y.data, a.argmax.data()});
    gpu::visit_width<kWide>(wide, [&](auto width) {
      a.fork ? forward_size<T, width, true>(stream, a) : forward_size<T, width, false>(stream, a);
    });
  });
}

}  // namespace passnorm::kernels
