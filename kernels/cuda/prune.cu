#include "kernels/prune.hpp"

#include "kernels/cuda/walk.cuh"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

using gpu::kWalkThreads;
using gpu::load_chunk;
using gpu::Shared;
using gpu::store_chunk;

using Count = unsigned long long;  // integer sums do not depend on their order

__device__ __forceinline__ uint32_t magnitude(float x) {
  return std::bit_cast<uint32_t>(x) & 0x7fffffffu;
}

template <int W>
__global__ void __launch_bounds__(kWalkThreads)
    magnitude_histogram_kernel(const float* x, int64_t n, uint32_t prefix, int shift, int width,
                               Count* counts) {
  __shared__ Shared<unsigned, 1 << MagnitudeHistogram::kMaxWidth> local;
  const int thread = static_cast<int>(threadIdx.x), buckets = 1 << width;
  for (int i = thread; i < buckets; i += kWalkThreads) local[i] = 0;
  __syncthreads();
  gpu::walk<W>(n, [&](auto chunk, int64_t i) {
    for (const float v : load_chunk<decltype(chunk)::value>(x + i).v) {
      const uint32_t digits = magnitude(v) >> shift;
      if (digits >> width == prefix)
        atomicAdd(&local[static_cast<int>(digits) & (buckets - 1)], 1u);
    }
  });
  __syncthreads();
  for (int i = thread; i < buckets; i += kWalkThreads)
    if (const unsigned found = local[i]; found != 0) atomicAdd(&counts[i], Count{found});
}

template <int W>
__global__ void __launch_bounds__(kWalkThreads)
    prune_kernel(float* w, int64_t n, uint32_t threshold, Count* kept) {
  int stay = 0;
  gpu::walk<W>(n, [&](auto chunk, int64_t i) {
    auto v = load_chunk<decltype(chunk)::value>(w + i);
    for (float& x : v.v) {
      const bool stays = magnitude(x) > threshold;
      stay += stays;
      if (!stays) x = 0;
    }
    store_chunk(w + i, v);
  });
  stay = __reduce_add_sync(~0u, stay);
  if (threadIdx.x % 32 == 0) atomicAdd(kept, static_cast<Count>(stay));
}

}  // namespace

void magnitude_histogram(CudaStream& stream, const MagnitudeHistogram& a) {
  check(a);
  const Scratch<Count> counts(stream, static_cast<int64_t>(a.counts.size()));
  stream.fill_bytes(counts.data(), 0, a.counts.size_bytes());
  for (const auto& x : a.tensors)
    gpu::with_width({x.data()}, [&](auto width) {
      gpu::launch(stream, magnitude_histogram_kernel<decltype(width)::value>,
                  gpu::walking_grid(stream, x.size()), dim3(kWalkThreads), 0, x.data(), x.size(),
                  a.prefix, a.shift, a.width, counts.data());
    });
  static_assert(sizeof(Count) == sizeof(int64_t));
  stream.copy_to_host(a.counts.data(), counts.data(), a.counts.size_bytes());
  stream.synchronize();
}

int64_t prune(CudaStream& stream, const Prune& a) {
  const uint32_t threshold = threshold_bits(a.threshold);
  const Scratch<Count> kept(stream, 1);
  stream.fill_bytes(kept.data(), 0, sizeof(Count));
  for (const auto& w : a.tensors)
    gpu::with_width({w.data()}, [&](auto width) {
      gpu::launch(stream, prune_kernel<decltype(width)::value>, gpu::walking_grid(stream, w.size()),
                  dim3(kWalkThreads), 0, w.data(), w.size(), threshold, kept.data());
    });
  int64_t on_host = 0;
  stream.copy_to_host(&on_host, kept.data(), sizeof on_host);
  stream.synchronize();
  return on_host;
}

}  // namespace passnorm::kernels
