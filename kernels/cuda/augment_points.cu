#include <cmath>

#include "kernels/augment_points_common.hpp"
#include "kernels/cuda/chunk.cuh"

namespace passnorm::kernels {
namespace {

constexpr int kThreads = 128;

struct AugmentPointsArguments {
  int points;
  int64_t count;  // stored
  const float* clouds;
  const int64_t* index;
  PointChange change;
  const int32_t* labels;
  int32_t* picked_labels;
};

/// x: cloud of the batch; y: part of its points. A thread has four points. kWide: all clouds are
/// such, and start at multiples of 16 bytes.
template <class T, bool kWide>
__global__ void __launch_bounds__(kThreads)
    augment_points_kernel(const __grid_constant__ AugmentPointsArguments a, T* y) {
  constexpr int kElements = 12, W = kWide ? 4 : 1;
  const int64_t index = a.index[blockIdx.x], cloud = int64_t{3} * a.points;
  const bool known = index >= 0 && index < a.count;
  const float* from = a.clouds + (known ? index : 0) * cloud;
  T* to = y + blockIdx.x * cloud;
  if (threadIdx.x == 0 && blockIdx.y == 0 && a.labels != nullptr)
    a.picked_labels[blockIdx.x] = known ? a.labels[index] : -1;

  PointChange::Draw drawn = a.change.draw(index);
  if (!known) drawn.scale = NAN;
  float origin[3];
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) origin[axis] = from[axis];
  const int fours = (a.points + 3) / 4;
  for (int i = static_cast<int>(blockIdx.y * kThreads + threadIdx.x); i < fours;
       i += static_cast<int>(gridDim.y * kThreads)) {
    const int64_t first = int64_t{i} * kElements;
    const PhiloxWords words = a.change.words_of_points(index, i);
    float v[kElements] = {};
#pragma unroll
    for (int k = 0; k < kElements; k += W) {
      if (first + k >= cloud) break;
      const gpu::Chunk<float, W> in = gpu::load_chunk<W>(from + first + k);
#pragma unroll
      for (int c = 0; c < W; ++c) v[k + c] = in.v[c];
    }
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      const bool dropped = PointChange::dropped(words.w[p], drawn);
#pragma unroll
      for (int axis = 0; axis < 3; ++axis) {
        const float x = dropped ? origin[axis] : v[3 * p + axis];
        v[3 * p + axis] = fmaf(x, drawn.scale, drawn.shift[axis]);
      }
    }
#pragma unroll
    for (int k = 0; k < kElements; k += W) {
      if (first + k >= cloud) break;
      gpu::Chunk<T, W> out;
#pragma unroll
      for (int c = 0; c < W; ++c) out.v[c] = gpu::from_float<T>(v[k + c]);
      gpu::store_chunk(to + first + k, out);
    }
  }
}

}  // namespace

void augment_points(CudaStream& stream, const AugmentPoints& a) {
  check(a);
  if (a.n == 0) return;
  PASSNORM_CHECK(a.n <= INT32_MAX, a.n, " clouds are too many for one launch");
  const AugmentPointsArguments arguments{
      .points = static_cast<int>(a.points),
      .count = static_cast<int64_t>(a.clouds.size()) / (3 * a.points),
      .clouds = a.clouds.data(),
      .index = a.index.data(),
      .change = PointChange(a),
      .labels = a.labels.data(),
      .picked_labels = a.picked_labels.data()};
  visit_storage(a.y.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* y = a.y.as<T>();
    const auto kernel = gpu::divides<4>(a.points, {y, a.clouds.data()})
                            ? augment_points_kernel<T, true>
                            : augment_points_kernel<T, false>;
    const int64_t parts = gpu::ceil_div(a.points, 4 * kThreads);
    gpu::launch(
        stream, kernel,
        dim3(static_cast<unsigned>(a.n), static_cast<unsigned>(std::min<int64_t>(65535, parts))),
        dim3(kThreads), 0, arguments, y);
  });
}

}  // namespace passnorm::kernels
