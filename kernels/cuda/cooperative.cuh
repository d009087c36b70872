// Launches of blocks that take most of a multiprocessor's shared memory, and grids whose blocks
// meet.
#pragma once

#include "kernels/cuda/gpu.cuh"

#if defined(__CUDACC__)
#include <cooperative_groups.h>

namespace passnorm::gpu {

/// Shared memory that a block may have at most, static and dynamic.
inline int64_t most_shared_bytes(const CudaStream& stream) {
  int bytes = 0;
  PASSNORM_CALL(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                       stream.device().index));
  return bytes;
}

/// cooperative: all blocks run at the same time, and may call grid_barrier. An error where they are
/// more than the device can hold. May be recorded, as any launch.
template <class... P, class... A>
void launch_on_chip(CudaStream& stream, void (*kernel)(P...), dim3 grid, dim3 block,
                    std::size_t shared_bytes, bool cooperative, A&&... a) {
  // Always as much as there is: streams of other threads of the program launch the same kernel.
  cudaFuncAttributes facts;
  PASSNORM_CALL(cudaFuncGetAttributes(&facts, kernel));
  PASSNORM_CALL(cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
      static_cast<int>(most_shared_bytes(stream)) - static_cast<int>(facts.sharedSizeBytes)));
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = cooperative;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream.handle());
  config.attrs = &attribute;
  config.numAttrs = 1;
  PASSNORM_CALL(cudaLaunchKernelEx(&config, kernel, P(a)...));
}

/// All threads of the grid wait for each other; what they wrote before is visible to all after.
__device__ inline void grid_barrier() { cooperative_groups::this_grid().sync(); }

}  // namespace passnorm::gpu
#else
#include "tests/emulator/cuda_cooperative.hpp"
#endif
