// A block's slab of x on the GPU (norm_slabs.hpp): where it lies, and how its threads walk over it.
#pragma once

#include "kernels/cuda/block.cuh"
#include "kernels/cuda/cooperative.cuh"
#include "kernels/cuda/norm.cuh"
#include "kernels/cuda/norm_slabs.hpp"

namespace passnorm::kernels {

struct SlabArguments {
  int tile_groups, tile_channels, chunks;
};
inline SlabArguments slab_arguments(const NormSlabs& s, const NormGeometry& g) {
  return {static_cast<int>(s.tile_groups),
          static_cast<int>(s.tile_groups * (g.channels / g.groups)), static_cast<int>(s.chunks)};
}

/// Threads walk over their chunks twice, in the same order: what a thread keeps, it alone reads.
struct Slab {
  int64_t block;  ///< of x
  int tile, part, parts;
  int first, end;  ///< channels
  int first_row, stride;
  int rows, threads;

  __device__ Slab(const SlabArguments& a, int rows_of_block, int channels)
      : block(blockIdx.z),
        tile(static_cast<int>(blockIdx.x)),
        part(static_cast<int>(blockIdx.y)),
        parts(static_cast<int>(gridDim.y)),
        first(tile * a.tile_channels),
        end(min(first + a.tile_channels, channels)),
        first_row(static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y)),
        stride(static_cast<int>(gridDim.y * blockDim.y)),
        rows(rows_of_block),
        threads(gpu::threads_of_block()) {}

  /// Of all rows of x. From the last to the first: what was written last is still in the cache.
  __device__ int64_t row_of_x(int row) const { return (block + 1) * rows - 1 - row; }

  /// Calls f(channel, where the thread's chunks of it start) for the thread's channels: as often in
  /// all threads of the block, with channels from `end` on where a thread has fewer.
  template <int kWidth, class F>
  __device__ __forceinline__ void for_channels(const F& f) const {
    const int chunks = first_row < rows ? (rows - first_row + stride - 1) / stride : 0;
    int slot = gpu::thread_of_block();
    for (int from = first; from < end; from += static_cast<int>(blockDim.x) * kWidth) {
      f(from + static_cast<int>(threadIdx.x) * kWidth, slot);
      slot += chunks * threads;
    }
  }
};

inline Chip chip_of(const CudaStream& stream) {
  return {stream.multiprocessors(), gpu::most_shared_bytes(stream)};
}

template <class Arguments>
void launch_slabs(CudaStream& stream, void (*kernel)(Arguments), const NormSlabs& s,
                  const NormGeometry& g, const Arguments& a) {
  const auto count = [](int64_t n) { return static_cast<unsigned>(n); };
  gpu::launch_on_chip(stream, kernel, dim3(count(s.tiles), count(s.parts), count(g.blocks)),
                      dim3(count(s.columns), count(s.rows)), static_cast<size_t>(s.bytes),
                      s.cooperative(), a);
}

}  // namespace passnorm::kernels
