// The other half of kernels/cuda/cooperative.cuh.
#pragma once

#include <cstdint>

#include "tests/emulator/cuda_names.hpp"

namespace passnorm::gpu {

inline int64_t most_shared_bytes(const CudaStream&) { return emulator::kMostSharedBytes; }

template <class... P, class... A>
void launch_on_chip(CudaStream& stream, void (*kernel)(P...), dim3 grid, dim3 block,
                    std::size_t shared_bytes, bool cooperative, A&&... a) {
  emulator::queue_of(stream.handle())
      .launch({.grid = grid,
               .block = block,
               .shared_bytes = shared_bytes,
               .body = bound(kernel, std::forward<A>(a)...),
               .on_chip = true,
               .cooperative = cooperative});
}

inline void grid_barrier(emulator::Where where = emulator::Where::current()) {
  emulator::grid_barrier(where);
}

}  // namespace passnorm::gpu
