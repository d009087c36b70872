#include <cmath>

#include "kernels/augment_common.hpp"
#include "kernels/cuda/chunk.cuh"

namespace passnorm::kernels {
namespace {

constexpr int kThreads = 256, kBytes = 256, kMaxChannels = 4;
constexpr int kChunksPerThread = 4;

struct AugmentArguments {
  int h, w, c;
  int64_t images;  // stored
  const uint8_t* pixels;
  const int64_t* index;
  float mean[kMaxChannels], stddev[kMaxChannels];
  int64_t pad;
  bool flip;
  uint64_t seed;
  DeviceValue<uint32_t> epoch;
  const int32_t* labels;
  int32_t* picked_labels;
};

/// x: image of the batch; y: part of the image. A thread writes W elements of [H, W, C] at once.
template <class T, int W>
__global__ void __launch_bounds__(kThreads)
    augment_kernel(const __grid_constant__ AugmentArguments a, T* y) {
  __shared__ gpu::Shared<float, kMaxChannels * kBytes> table;
  __shared__ gpu::Shared<int, 3> window;
  const int64_t index = a.index[blockIdx.x];
  const bool known = index >= 0 && index < a.images;
  for (int ch = 0; ch < a.c; ++ch)
    table[ch * kBytes + static_cast<int>(threadIdx.x)] =
        known ? normalised(static_cast<int>(threadIdx.x), a.mean[ch], a.stddev[ch]) : NAN;
  if (threadIdx.x == 0) {
    const Random random(a.seed, Purpose::kAugment, a.epoch.get());
    const Window drawn = draw_window(random, index, a.pad, a.flip);
    window[0] = static_cast<int>(drawn.top);
    window[1] = static_cast<int>(drawn.left);
    window[2] = drawn.mirrored;
    if (a.labels != nullptr && blockIdx.y == 0)
      a.picked_labels[blockIdx.x] = known ? a.labels[index] : -1;
  }
  __syncthreads();
  const int top = window[0], left = window[1];
  const bool mirrored = window[2] != 0;
  const int line = a.w * a.c, size = a.h * line;
  const int64_t plane = int64_t{a.h} * a.w;
  const uint8_t* image = a.pixels + (known ? index : 0) * size;
  for (int i = static_cast<int>(blockIdx.y * kThreads + threadIdx.x) * W; i < size;
       i += static_cast<int>(gridDim.y * kThreads) * W) {
    int row = i / line, column = i % line / a.c, ch = i % a.c;
    gpu::Chunk<T, W> out;
#pragma unroll
    for (int k = 0; k < W; ++k) {
      const auto from_row = source_position(row, top, a.h, false);
      const auto from_column = source_position(column, left, a.w, mirrored);
      const int byte = known && from_row >= 0 && from_column >= 0
                           ? image[ch * plane + from_row * a.w + from_column]
                           : 0;
      out.v[k] = gpu::from_float<T>(table[ch * kBytes + byte]);
      if (++ch < a.c) continue;
      ch = 0;
      if (++column < a.w) continue;
      column = 0;
      ++row;
    }
    gpu::store_chunk(y + int64_t{blockIdx.x} * size + i, out);
  }
}

}  // namespace

void augment(CudaStream& stream, const Augment& a) {
  check(a);
  if (a.n == 0) return;
  const int64_t size = a.h * a.w * a.c;
  PASSNORM_CHECK(a.n <= INT32_MAX && size <= INT32_MAX / 2 && a.pad <= INT32_MAX / 4, a.n,
                 " images of ", size, " bytes, pad ", a.pad, ", are too many for one launch");
  AugmentArguments arguments{.h = static_cast<int>(a.h),
                             .w = static_cast<int>(a.w),
                             .c = static_cast<int>(a.c),
                             .images = static_cast<int64_t>(a.images.size()) / size,
                             .pixels = a.images.data(),
                             .index = a.index.data(),
                             .mean = {},
                             .stddev = {},
                             .pad = a.pad,
                             .flip = a.flip,
                             .seed = a.seed,
                             .epoch = a.epoch,
                             .labels = a.labels.data(),
                             .picked_labels = a.picked_labels.data()};
  std::copy(a.mean.begin(), a.mean.end(), arguments.mean);
  std::copy(a.stddev.begin(), a.stddev.end(), arguments.stddev);
  visit_storage(a.y.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* y = a.y.as<T>();
    constexpr int kWide = gpu::Pack<T>::kSize;
    gpu::visit_width<kWide>(gpu::divides<kWide>(size, {y}), [&](auto width) {
      constexpr int W = width();
      const int64_t parts = gpu::ceil_div(size, W * kThreads * kChunksPerThread);
      gpu::launch(
          stream, augment_kernel<T, W>,
          dim3(static_cast<unsigned>(a.n), static_cast<unsigned>(std::min<int64_t>(65535, parts))),
          dim3(kThreads), 0, arguments, y);
    });
  });
}

}  // namespace passnorm::kernels
