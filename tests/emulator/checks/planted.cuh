// Kernels with the bugs that the emulator and the sanitizers must find, each beside its right form.
#pragma once

#include "kernels/cuda/cooperative.cuh"

namespace passnorm::planted {

enum class Bug {
  kNone,
  kNoBarrierAfterStore,
  kNoBarrierBetweenLevels,
  kNoBarrierBeforeOverwrite,
  kNoSyncwarp,
  kNoFence,
  kBlockFence,
  kNoBarrierBeforeLast,
  kNoGridBarrier,
  kNotAtomic,
  kOverlap,
  kMisaligned,
  kGridTooSmall,
  kSharedIndex,
  kDynamicShared,
  kGlobal,
};

constexpr int kThreads = 128;

/// out[block] = the sum of the block's part of x, by a tree.
template <Bug kBug>
__global__ void tree_sum_kernel(const float* x, float* out) {
  float* s = gpu::dynamic_shared<float>();
  const unsigned t = threadIdx.x;
  s[t] = x[blockIdx.x * blockDim.x + t];
  if constexpr (kBug != Bug::kNoBarrierAfterStore) __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (t < half) s[t] += s[t + half];
    if constexpr (kBug != Bug::kNoBarrierBetweenLevels) __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = s[0];
}

/// out[t] = 2 x[mirrored neighbour], through one array that is written twice.
template <Bug kBug>
__global__ void mirror_kernel(const float* x, float* out) {
  __shared__ gpu::Shared<float, kThreads> s;
  const int t = static_cast<int>(threadIdx.x);
  s[t] = x[t];
  __syncthreads();
  const float mirrored = s[kThreads - 1 - t];
  if constexpr (kBug != Bug::kNoBarrierBeforeOverwrite) __syncthreads();
  s[t] = 2 * mirrored;
  __syncthreads();
  out[t] = s[(t + 1) % kThreads];
}

/// out[t] = x[the next lane], inside each warp.
template <Bug kBug>
__global__ void rotate_kernel(const float* x, float* out) {
  __shared__ gpu::Shared<float, kThreads> s;
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  s[t] = x[t];
  if constexpr (kBug != Bug::kNoSyncwarp) __syncwarp();
  out[t] = s[t - lane + (lane + 1) % 32];
}

/// out[0] = the sum of x, by the last block to come. partial: one float per block.
template <Bug kBug>
__global__ void ticket_sum_kernel(const float* x, float* partial, unsigned* ticket, float* out) {
  __shared__ gpu::Shared<float, kThreads> s;
  __shared__ gpu::Shared<bool, 1> last;
  const int t = static_cast<int>(threadIdx.x);
  s[t] = x[blockIdx.x * kThreads + threadIdx.x];
  __syncthreads();
  if (t == 0) {
    float sum = 0;
    for (int i = 0; i < kThreads; ++i) sum += s[i];
    partial[blockIdx.x] = sum;
    if constexpr (kBug == Bug::kBlockFence)
      __threadfence_block();
    else if constexpr (kBug != Bug::kNoFence)
      __threadfence();
    last[0] = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1;
  }
  if constexpr (kBug != Bug::kNoBarrierBeforeLast) __syncthreads();
  if (!last[0]) return;
  __threadfence();
  if (t == kThreads - 1) {
    float sum = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) sum += partial[b];
    out[0] = sum;
  }
}

/// out = x + the sum of x, which every block adds up from what all found. partial: one float per
/// block.
template <Bug kBug>
__global__ void grid_sum_kernel(const float* x, float* partial, float* out) {
  __shared__ gpu::Shared<float, kThreads> s;
  const int t = static_cast<int>(threadIdx.x);
  s[t] = x[blockIdx.x * kThreads + threadIdx.x];
  __syncthreads();
  if (t == 0) {
    float sum = 0;
    for (int i = 0; i < kThreads; ++i) sum += s[i];
    partial[blockIdx.x] = sum;
  }
  if constexpr (kBug == Bug::kNoGridBarrier)
    __syncthreads();
  else
    gpu::grid_barrier();
  float sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += partial[b];
  out[blockIdx.x * kThreads + threadIdx.x] = s[t] + sum;
}

/// counts[0] = all threads of the grid.
template <Bug kBug>
__global__ void count_kernel(unsigned* counts) {
  if constexpr (kBug == Bug::kNotAtomic)
    counts[0] += 1;
  else
    atomicAdd(counts, 1u);
}

/// y = 2 x; in the overlap two blocks write the same.
template <Bug kBug>
__global__ void double_kernel(const float* x, float* y, int n) {
  const int i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (i < n) y[i] = 2 * x[i];
  if (kBug == Bug::kOverlap && threadIdx.x == 0 && i + kThreads < n)
    y[i + kThreads] = 2 * x[i + kThreads];
}

/// y = x, 16 bytes per thread.
template <Bug kBug>
__global__ void copy_kernel(const float* x, float* y) {
  const unsigned at = 4 * threadIdx.x;
  gpu::store(y + at, gpu::load(x + at + (kBug == Bug::kMisaligned ? 1 : 0)));
}

/// y = 1 for n elements, or one too many.
template <Bug kBug>
__global__ void ones_kernel(float* y, int n) {
  const int i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (i < n + (kBug == Bug::kGlobal ? 1 : 0)) y[i] = 1;
}

__global__ inline void ones_and_a_grid_barrier(float* y) {
  gpu::grid_barrier();
  if (blockIdx.x == 0) y[threadIdx.x] = 1;
}

template <Bug kBug>
__global__ void shared_overrun_kernel(float* y) {
  __shared__ gpu::Shared<float, kThreads> s;
  float* d = gpu::dynamic_shared<float>();
  const int t = static_cast<int>(threadIdx.x);
  s[t + (kBug == Bug::kSharedIndex ? 1 : 0)] = 1;
  d[t + (kBug == Bug::kDynamicShared ? 1 : 0)] = 2;
  __syncthreads();
  y[t] = s[0] + d[0];
}

// What never works: the rule that it breaks is in its name.

__global__ inline void barrier_in_divergent_code(float* y) {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
    y[threadIdx.x] = 1;
  } else {
    __syncthreads();
    y[threadIdx.x] = 2;
  }
}
__global__ inline void barrier_that_some_never_reach(float* y) {
  if (threadIdx.x < 16)
    __syncwarp(0xffffffffu);
  else
    __syncthreads();
  y[threadIdx.x] = 1;
}
__global__ inline void grid_barrier_that_a_block_never_reaches(float* y) {
  if (blockIdx.x == 1) return;
  gpu::grid_barrier();
  y[threadIdx.x] = 1;
}
__global__ inline void grid_barrier_that_meets_one_of_the_block(float* y) {
  if (threadIdx.x < 16)
    gpu::grid_barrier();
  else
    __syncthreads();
  y[threadIdx.x] = 1;
}
__global__ inline void mask_without_own_lane(float* y) {
  y[threadIdx.x] = __shfl_down_sync(0xffffu, 1.0f, 1);
}
__global__ inline void masks_that_differ(float* y) {
  y[threadIdx.x] = __shfl_xor_sync(threadIdx.x == 3 ? 0x7fffffffu : 0xffffffffu, 1.0f, 1);
}
__global__ inline void shuffle_that_meets_a_vote(float* y) {
  y[threadIdx.x] = 1;
  if (threadIdx.x == 0)
    __any_sync(0xffffffffu, 1);
  else
    y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}
/// Lanes from 8 on read lanes that are not in the mask.
__global__ inline void lane_outside_the_mask(float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_down_sync(0x0000ffffu, 1.0f, 8);
}
__global__ inline void shared_that_nobody_wrote(float* y) {
  __shared__ gpu::Shared<float, kThreads> s;
  if (threadIdx.x < 64) s[static_cast<int>(threadIdx.x)] = 1;
  __syncthreads();
  y[threadIdx.x] = s[static_cast<int>(threadIdx.x)];
}

}  // namespace passnorm::planted
