// What a kernel's source uses of CUDA, for a host compiler: the other half of kernels/cuda/gpu.cuh.
#pragma once

#include <tuple>

#include "kernels/runtime/cuda_stream.hpp"
#include "kernels/runtime/dtype.hpp"
#include "tests/emulator/cuda_math.hpp"
#include "tests/emulator/cuda_threads.hpp"
#include "tests/emulator/cuda_types.hpp"
#include "tests/emulator/queue.hpp"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __shared__ static thread_local
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

// Accesses that pass some cache.
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stcg(T* p, std::type_identity_t<T> x) {
  *p = x;
}
template <class T>
void __stcs(T* p, std::type_identity_t<T> x) {
  *p = x;
}

namespace passnorm::gpu {

// Initialised, so that it is a constant: a constructor that runs at the first use would be a race.
template <class T, int N>
struct Shared {
  T v[N]{};
  std::uint64_t block = 0;  ///< that touched it last
  T& operator[](int i) {
    if (i < 0 || i >= N)
      emulator::fail_kernel(concat("shared array index ", i, " outside 0..", N - 1));
    if (block != emulator::block_number) emulator::first_touch(v, sizeof v, block);
    return v[i];
  }
};

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulator::dynamic_shared_memory);
}

/// A kernel with its arguments.
template <class... P, class... A>
std::function<void()> bound(void (*kernel)(P...), A&&... a) {
  return [kernel, arguments = std::tuple<P...>(static_cast<P>(std::forward<A>(a))...)] {
    std::apply(kernel, arguments);
  };
}

template <class... P, class... A>
void launch(CudaStream& stream, void (*kernel)(P...), dim3 grid, dim3 block,
            std::size_t shared_bytes, A&&... a) {
  emulator::queue_of(stream.handle())
      .launch({grid, block, shared_bytes, bound(kernel, std::forward<A>(a)...)});
}

inline float to_float(float x) { return x; }
inline float to_float(bfloat16 x) { return static_cast<float>(x); }
inline float to_float(float16 x) { return static_cast<float>(x); }
template <class T>
T from_float(float x) {
  return T(x);
}

template <class P>
P load_once(const P* p) {
  static_assert(sizeof(P) == 16);
  return *p;
}
template <class P>
void store_once(P* p, const P& x) {
  static_assert(sizeof(P) == 16);
  *p = x;
}

}  // namespace passnorm::gpu
