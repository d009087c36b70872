// What the kernels that pool share.
#pragma once

#include "kernels/cuda/gpu.cuh"
#include "kernels/pooling.hpp"

namespace passnorm::kernels {

/// PoolGeometry in numbers that a GPU divides fast.
struct Windows {
  int h, w, c, oh, ow, size, stride, pad;
};

inline Windows windows_of(const PoolGeometry& g) {
  constexpr int64_t kLimit = int64_t{1} << 30;
  PASSNORM_CHECK(g.n * g.h < kLimit && g.n * g.oh() < kLimit && g.w * g.c < kLimit &&
                     g.ow() * g.c < kLimit && g.stride < kLimit,
                 g.n, " images of ", g.h, " x ", g.w, " x ", g.c, " are too many for one launch");
  const auto i32 = [](int64_t v) { return static_cast<int>(v); };
  return {i32(g.h),    i32(g.w),    i32(g.c),      i32(g.oh()),
          i32(g.ow()), i32(g.size), i32(g.stride), i32(g.pad)};
}

/// Whether v is the new maximum: larger, or the first NaN.
__device__ __forceinline__ bool exceeds(float v, float best) {
  return !(v <= best) && best == best;
}

/// The window's first tap inside the image.
__device__ __forceinline__ int first_tap(const Windows& g, int top, int left) {
  return max(0, -top) * g.size + max(0, -left);
}

/// Calls f(row, column, tap, inside) for the taps of the window at (top, left), row-major. Those in
/// the padding get some row and column of the image, so that loads need no branches. kSize: of the
/// window, when the loads are to be unrolled; else 0.
template <int kSize, class F>
__device__ __forceinline__ void for_each_tap(const Windows& g, int top, int left, F&& f) {
  const int size = kSize > 0 ? kSize : g.size;
#pragma unroll
  for (int p = 0; p < size; ++p) {
    const int row = min(max(top + p, 0), g.h - 1);
#pragma unroll
    for (int q = 0; q < size; ++q) {
      const int column = min(max(left + q, 0), g.w - 1);
      f(row, column, p * size + q, row == top + p && column == left + q);
    }
  }
}

}  // namespace passnorm::kernels
