// The names a kernel's source may use beside plain CUDA C++, so that it builds with nvcc and, for
// tests, with a host compiler over the emulator (PASSNORM_CUDA=EMULATED).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/runtime/cuda_stream.hpp"
#include "kernels/runtime/dtype.hpp"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels/cuda/check.hpp"

namespace passnorm::gpu {

/// A static shared array: `__shared__ Shared<float, 32> sums;`. The emulator poisons it and checks
/// indices.
template <class T, int N>
struct Shared {
  T v[N];
  __device__ T& operator[](int i) { return v[i]; }
};

/// The launch's dynamic shared memory.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
}

template <class... P, class... A>
void launch(CudaStream& stream, void (*kernel)(P...), dim3 grid, dim3 block,
            std::size_t shared_bytes, A&&... a) {
  kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream.handle())>>>(P(a)...);
  PASSNORM_CALL(cudaGetLastError());
}

// Storage types: conversions are single instructions where the hardware has them.
__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bfloat16 x) {
  return __uint_as_float(uint32_t{x.bits} << 16);
}
__device__ __forceinline__ float to_float(float16 x) {
  return __half2float(__ushort_as_half(x.bits));
}
template <class T>
__device__ __forceinline__ T from_float(float x) {
  T y;
  if constexpr (std::is_same_v<T, float>)
    y = x;
  else if constexpr (std::is_same_v<T, bfloat16>)
    y.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
  else
    y.bits = __half_as_ushort(__float2half_rn(x));
  return y;
}

/// 16 bytes that are read once, or written and not read soon: they leave the caches first.
template <class P>
__device__ __forceinline__ P load_once(const P* p) {
  static_assert(sizeof(P) == 16);
  const uint4 x = __ldcs(reinterpret_cast<const uint4*>(p));
  return std::bit_cast<P>(x);
}
template <class P>
__device__ __forceinline__ void store_once(P* p, const P& x) {
  static_assert(sizeof(P) == 16);
  __stcs(reinterpret_cast<uint4*>(p), std::bit_cast<uint4>(x));
}

}  // namespace passnorm::gpu
#else
#include "tests/emulator/cuda_names.hpp"
#endif

namespace passnorm::gpu {

/// One 16-byte memory access.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  T v[kSize];
};
template <class T>
__device__ __forceinline__ Pack<T> load(const T* p) {
  return *reinterpret_cast<const Pack<T>*>(p);
}
template <class T>
__device__ __forceinline__ void store(T* p, const Pack<T>& x) {
  *reinterpret_cast<Pack<T>*>(p) = x;
}

/// Whether 16-byte accesses to p + k Pack<T>::kSize are aligned.
inline bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace passnorm::gpu
