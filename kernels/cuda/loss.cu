#include <cmath>

#include "kernels/cuda/block.cuh"
#include "kernels/loss_common.hpp"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * gpu::kWarp;

struct CrossEntropyArguments {
  int64_t rows;
  int classes;
  const float* logits;
  const int32_t* labels;
  float on_label, off_label;  // target: off_label everywhere, and on_label more on the label
  float weight;
  DeviceValue<float> loss_scale;
  float* loss;
  int32_t* hits;
  float* dlogits;
  float* block_loss;    // [lanes, blocks]
  int32_t* block_hits;  // [lanes, blocks]
  unsigned* tickets;    // [lanes]
};

template <class T>
__device__ T warp_sum(T value) {
  for (int flip = gpu::kWarp / 2; flip > 0; flip /= 2)
    value += __shfl_xor_sync(gpu::kAllLanes, value, flip);
  return value;
}

/// The first largest of x [classes], as std::max_element finds it: a NaN is never larger, and the
/// largest when it comes first. The same in all threads of the warp.
struct Largest {
  float value;
  int at;
};
__device__ Largest warp_largest(const float* x, int classes, int thread) {
  Largest best{x[0], 0};
  for (int k = thread; k < classes; k += gpu::kWarp)
    if (x[k] > best.value) best = {x[k], k};
  for (int flip = gpu::kWarp / 2; flip > 0; flip /= 2) {
    const float value = __shfl_xor_sync(gpu::kAllLanes, best.value, flip);
    const int at = __shfl_xor_sync(gpu::kAllLanes, best.at, flip);
    if (value > best.value || (value == best.value && at < best.at)) best = {value, at};
  }
  return best;
}

/// One row by one warp: its loss, the same in all threads, and its part of dlogits.
__device__ float cross_entropy_of_row(const CrossEntropyArguments& a, const float* x, int label,
                                      float largest, float* dx) {
  const int thread = static_cast<int>(threadIdx.x) % gpu::kWarp;
  const bool known = label >= 0 && label < a.classes;
  float exponentials = 0, below = 0;  // below: how far the logits lie below the largest
  for (int k = thread; k < a.classes; k += gpu::kWarp) {
    exponentials += expf(x[k] - largest);
    below += largest - x[k];
  }
  exponentials = warp_sum(exponentials);
  below = warp_sum(below);
  const float log_sum = logf(exponentials);  // over the largest: nothing cancels
  float loss = a.on_label * (log_sum + (largest - (known ? x[label] : NAN)));
  if (a.off_label != 0) loss += a.off_label * (static_cast<float>(a.classes) * log_sum + below);
  if (dx != nullptr) {
    const float scale = known ? a.weight * a.loss_scale.get() / static_cast<float>(a.rows) : NAN;
    for (int k = thread; k < a.classes; k += gpu::kWarp)
      dx[k] = scale * (expf(x[k] - largest) / exponentials - a.off_label -
                       (k == label ? a.on_label : 0.0f));
  }
  return loss;
}

/// x: rows, one per warp; y: lane. The last block of a lane adds up what the others found.
__global__ void __launch_bounds__(kThreads) cross_entropy_kernel(const CrossEntropyArguments a) {
  __shared__ gpu::Shared<float, kWarps> losses;
  __shared__ gpu::Shared<int32_t, kWarps> hits;
  const int warp = static_cast<int>(threadIdx.x) / gpu::kWarp;
  const int thread = static_cast<int>(threadIdx.x) % gpu::kWarp;
  const int64_t row = int64_t{blockIdx.x} * kWarps + warp;
  float loss = 0;
  bool hit = false;
  if (row < a.rows) {
    const int64_t at = (blockIdx.y * a.rows + row) * a.classes;
    const int label = a.labels[row];
    const Largest largest = warp_largest(a.logits + at, a.classes, thread);
    loss = cross_entropy_of_row(a, a.logits + at, label, largest.value,
                                a.dlogits != nullptr ? a.dlogits + at : nullptr);
    hit = largest.at == label;
  }
  if (thread == 0) losses[warp] = loss, hits[warp] = hit;
  __syncthreads();
  const int64_t blocks = gridDim.x;
  float* lane_loss = a.block_loss + blockIdx.y * blocks;
  int32_t* lane_hits = a.block_hits + blockIdx.y * blocks;
  if (threadIdx.x == 0) {
    float sum = 0;
    int32_t count = 0;
    for (int i = 0; i < kWarps; ++i) sum += losses[i], count += hits[i];
    lane_loss[blockIdx.x] = sum;
    lane_hits[blockIdx.x] = count;
  }
  if (!gpu::is_last_block(a.tickets + blockIdx.y, gridDim.x) || warp > 0) return;
  float sum = 0;
  int32_t count = 0;
  for (int64_t i = thread; i < blocks; i += gpu::kWarp) sum += lane_loss[i], count += lane_hits[i];
  sum = warp_sum(sum);
  count = warp_sum(count);
  if (thread != 0) return;
  a.loss[blockIdx.y] = sum / static_cast<float>(a.rows);
  a.hits[blockIdx.y] = count;
}

}  // namespace

void cross_entropy(CudaStream& stream, const CrossEntropy& a) {
  check(a);
  const int64_t blocks = gpu::ceil_div(a.rows, kWarps);
  PASSNORM_CHECK(a.lanes <= CudaStream::kTickets && a.classes <= INT32_MAX && blocks <= INT32_MAX,
                 a.lanes, " lanes of ", a.rows, " rows of ", a.classes,
                 " classes are too many for one launch");
  const Scratch<float> block_loss(stream, a.lanes * blocks);
  const Scratch<int32_t> block_hits(stream, a.lanes * blocks);
  gpu::launch(stream, cross_entropy_kernel,
              dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(a.lanes)), dim3(kThreads),
              0,
              CrossEntropyArguments{.rows = a.rows,
                                    .classes = static_cast<int>(a.classes),
                                    .logits = a.logits.data(),
                                    .labels = a.labels.data(),
                                    .on_label = 1 - a.smoothing,
                                    .off_label = a.smoothing / static_cast<float>(a.classes),
                                    .weight = a.weight,
                                    .loss_scale = a.loss_scale,
                                    .loss = a.loss.data(),
                                    .hits = a.hits.data(),
                                    .dlogits = a.dlogits.data(),
                                    .block_loss = block_loss.data(),
                                    .block_hits = block_hits.data(),
                                    .tickets = stream.tickets()});
}

}  // namespace passnorm::kernels
