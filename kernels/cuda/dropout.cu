#include "kernels/cuda/chunk.cuh"
#include "kernels/dropout_common.hpp"

namespace passnorm::kernels {
namespace {

constexpr int kThreads = 256;

/// A thread has kElements neighbours of every part. kWide: in one access each, and n is a multiple.
template <class T, bool kWide>
__global__ void __launch_bounds__(kThreads)
    dropout_kernel(const DropoutMask mask, int64_t n, int64_t parts, const T* x, T* y,
                   bool accumulate) {
  constexpr int kElements = gpu::Pack<T>::kSize, W = kWide ? kElements : 1;
  const int64_t first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kElements;
  if (first >= n) return;
  float factor[kElements];
#pragma unroll
  for (int k = 0; k < kElements; k += 4) mask.factors((first + k) / 4, factor + k);
  for (int64_t part = 0; part < parts; ++part)
#pragma unroll
    for (int k = 0; k < kElements; k += W) {
      const int64_t i = part * n + first + k;
      if (first + k >= n) break;
      const gpu::Chunk<T, W> from = gpu::load_chunk<W>(x + i);
      gpu::Chunk<T, W> to;
      if (accumulate) to = gpu::load_chunk<W>(y + i);
#pragma unroll
      for (int c = 0; c < W; ++c) {
        const float v = gpu::to_float(from.v[c]) * factor[k + c];
        to.v[c] = gpu::from_float<T>(accumulate ? gpu::to_float(to.v[c]) + v : v);
      }
      gpu::store_chunk(y + i, to);
    }
}

}  // namespace

void dropout(CudaStream& stream, const Dropout& a) {
  check(a);
  if (a.x.size == 0) return;
  const int64_t n = a.x.size / a.parts;
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = a.x.as<T>();
    T* y = a.y.as<T>();
    constexpr int kWide = gpu::Pack<T>::kSize;
    const auto kernel =
        gpu::divides<kWide>(n, {x, y}) ? dropout_kernel<T, true> : dropout_kernel<T, false>;
    const int64_t blocks = gpu::ceil_div(n, kThreads * kWide);
    PASSNORM_CHECK(blocks <= INT32_MAX, n, " elements are too many for one launch");
    gpu::launch(stream, kernel, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0,
                DropoutMask(a), n, a.parts, x, y, a.accumulate);
  });
}

}  // namespace passnorm::kernels
