// Reductions among the threads of a block, and the block that ends a grid's reduction. The order of
// every sum is fixed by the sizes alone.
#pragma once

#include "kernels/cuda/gpu.cuh"

namespace passnorm::gpu {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline int thread_of_block() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}
__device__ inline int threads_of_block() {
  return static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
}

/// Floats of shared memory that merge_rows needs.
constexpr int exchange_size(int values, int columns, int threads) {
  return values * (columns < kWarp ? threads / kWarp * columns : threads);
}

/// merge(value, other) for two sums of `values` floats.
struct AddFloats {
  template <int kValues>
  __device__ void operator()(float (&value)[kValues], const float (&other)[kValues]) const {
    for (int i = 0; i < kValues; ++i) value[i] += other[i];
  }
};

/// Threads as [segments][rows][columns], columns fastest, rows and columns powers of two: merges
/// the values of each column over the rows of its segment, pairwise. The result stands in row 0.
/// All threads of the block call it; exchange [exchange_size] is free afterwards.
template <int kValues, class Merge>
__device__ void merge_rows(float (&value)[kValues], int columns, int rows, float* exchange,
                           const Merge& merge) {
  const int segment = columns * rows;
  for (int offset = columns; offset < min(kWarp, segment); offset *= 2) {
    float other[kValues];
    for (int i = 0; i < kValues; ++i)
      other[i] = __shfl_down_sync(kAllLanes, value[i], static_cast<unsigned>(offset));
    merge(value, other);
  }
  // What is left stands in the first `columns` lanes of every warp (in all, when columns fill it).
  const int thread = thread_of_block(), lane = thread % kWarp;
  const int lanes = min(columns, kWarp), slots = threads_of_block() / kWarp * lanes;
  const int slot = thread / kWarp * lanes + lane, place = thread % segment;
  for (int offset = segment / 2; offset >= max(columns, kWarp); offset /= 2) {
    if (lane < lanes && place >= offset && place < 2 * offset)
      for (int i = 0; i < kValues; ++i) exchange[i * slots + slot] = value[i];
    __syncthreads();
    if (lane < lanes && place < offset) {
      float other[kValues];
      for (int i = 0; i < kValues; ++i)
        other[i] = exchange[i * slots + slot + offset / kWarp * lanes];
      merge(value, other);
    }
  }
  __syncthreads();
}

/// Whether this block is the last of `blocks` to call it with this ticket, which is then zero
/// again. What the threads of the others wrote before is visible to all threads of the last.
__device__ inline bool is_last_block(unsigned* ticket, unsigned blocks) {
  __shared__ Shared<unsigned, 1> arrived;
  __threadfence();
  __syncthreads();
  if (thread_of_block() == 0) {
    arrived[0] = atomicAdd(ticket, 1u);
    if (arrived[0] == blocks - 1) atomicExch(ticket, 0u);
  }
  __syncthreads();
  const bool last = arrived[0] == blocks - 1;
  if (last) __threadfence();
  return last;
}

}  // namespace passnorm::gpu
