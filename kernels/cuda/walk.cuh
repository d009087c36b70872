// Kernels that walk over flat arrays.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <type_traits>

#include "kernels/cuda/chunk.cuh"

namespace passnorm::gpu {

inline constexpr int kWalkThreads = 256;  ///< of a block that walks

template <int W>
using Width = std::integral_constant<int, W>;

/// Calls f(Width<W>, i) for chunks [i, i + W) of [0, n) and f(Width<1>, i) for the elements behind
/// the last chunk. Which thread gets which depends on n, W and the grid only.
template <int W, class F>
__device__ __forceinline__ void walk(int64_t n, F&& f) {
  const int64_t thread = int64_t{blockIdx.x} * kWalkThreads + threadIdx.x;
  for (int64_t i = thread; i < n / W; i += int64_t{gridDim.x} * kWalkThreads) f(Width<W>{}, i * W);
  if constexpr (W > 1)
    if (const int64_t i = n / W * W + thread; i < n) f(Width<1>{}, i);
}

/// As many blocks as run at once, or fewer where the array is small.
inline dim3 walking_grid(const CudaStream& stream, size_t n) {
  return dim3(
      static_cast<unsigned>(std::clamp<int64_t>(ceil_div(static_cast<int64_t>(n), 4 * kWalkThreads),
                                                1, int64_t{8} * stream.multiprocessors())));
}

/// f(Width<4>) where all arrays allow 16-byte accesses, else f(Width<1>).
template <class F>
void with_width(std::initializer_list<const void*> arrays, F&& f) {
  visit_width<4>(std::all_of(arrays.begin(), arrays.end(), aligned), f);
}

}  // namespace passnorm::gpu
