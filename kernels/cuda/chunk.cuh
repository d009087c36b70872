// W neighbouring elements as one value: the same kernel moves 16 bytes at a time where sizes and
// addresses allow, and single elements elsewhere.
#pragma once

#include <initializer_list>

#include "kernels/cuda/gpu.cuh"

namespace passnorm::gpu {

/// Moved in accesses of 16 bytes, or in one of less.
template <class T, int W>
struct alignas(W * sizeof(T) < 16 ? W * sizeof(T) : 16) Chunk {
  T v[W];
};
template <int W, class T>
__device__ __forceinline__ Chunk<T, W> load_chunk(const T* p) {
  return *reinterpret_cast<const Chunk<T, W>*>(p);
}
template <int W, class T>
__device__ __forceinline__ void store_chunk(T* p, const Chunk<T, W>& x) {
  *reinterpret_cast<Chunk<T, W>*>(p) = x;
}

/// Whether every part of `count` elements that starts at these addresses divides into chunks of W.
template <int W>
bool divides(int64_t count, std::initializer_list<const void*> addresses) {
  if (count % W != 0) return false;
  for (const void* p : addresses)
    if (!aligned(p)) return false;
  return true;
}

/// Calls f with the chunk's width as a constant (f(std::integral_constant<int, W>)): `wide` or 1.
template <int kWide, class F>
void visit_width(bool wide, F&& f) {
  wide ? f(std::integral_constant<int, kWide>()) : f(std::integral_constant<int, 1>());
}

}  // namespace passnorm::gpu
