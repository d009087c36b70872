#include <algorithm>

#include "kernels/cuda/chunk.cuh"
#include "kernels/cuda/pad.hpp"

namespace passnorm::kernels {
namespace {

using gpu::Pack;

constexpr int kThreads = 256;

/// A thread writes kSize neighbouring channels of a row of y, which has whole packs of them.
template <class X, class Y, int kSize>
__global__ void __launch_bounds__(kThreads)
    copy_channels_kernel(const X* x, int64_t x_rows, int64_t x_channels, Y* y, int64_t packs,
                         int64_t packs_per_row, bool accumulate) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < packs;
       i += int64_t{gridDim.x} * kThreads) {
    const int64_t row = i / packs_per_row, c = (i - row * packs_per_row) * kSize;
    const X* const from = x + row * x_channels + c;
    Y* const to = y + i * kSize;
    gpu::Chunk<Y, kSize> out{};
    if (accumulate) out = gpu::load_chunk<kSize>(to);
    for (int k = 0; k < kSize; ++k) {
      const float value = row < x_rows && c + k < x_channels ? gpu::to_float(from[k]) : 0.0f;
      out.v[k] = gpu::from_float<Y>(accumulate ? gpu::to_float(out.v[k]) + value : value);
    }
    gpu::store_chunk<kSize>(to, out);
  }
}

template <class X, class Y, int kSize>
void launch(CudaStream& stream, const CopyChannels& a) {
  const int64_t packs = a.y_rows * a.y_channels / kSize;
  const int64_t blocks =
      std::min<int64_t>(gpu::ceil_div(packs, kThreads), int64_t{stream.multiprocessors()} * 16);
  gpu::launch(stream, copy_channels_kernel<X, Y, kSize>, dim3(static_cast<unsigned>(blocks)),
              dim3(kThreads), 0, static_cast<const X*>(a.x.data), a.x_rows, a.x_channels,
              static_cast<Y*>(a.y.data), packs, a.y_channels / kSize, a.accumulate);
}

}  // namespace

void copy_channels(CudaStream& stream, const CopyChannels& a) {
  PASSNORM_CHECK(a.x.size == a.x_rows * a.x_channels && a.y.size == a.y_rows * a.y_channels,
                 "x has ", a.x.size, " elements, not [", a.x_rows, ",", a.x_channels, "], or y ",
                 a.y.size, ", not [", a.y_rows, ",", a.y_channels, "]");
  if (a.y.size == 0) return;
  visit_storage(a.x.dtype, [&](auto x_zero) {
    visit_storage(a.y.dtype, [&](auto y_zero) {
      using X = decltype(x_zero);
      using Y = decltype(y_zero);
      if (gpu::aligned(a.y.data) && a.y_channels % Pack<Y>::kSize == 0)
        launch<X, Y, Pack<Y>::kSize>(stream, a);
      else
        launch<X, Y, 1>(stream, a);
    });
  });
}

}  // namespace passnorm::kernels
