#include "tests/support/device_memory.hpp"

#include "kernels/runtime/check.hpp"

#if PASSNORM_EMULATED

#include "tests/emulator/queue.hpp"

namespace passnorm::test {

void* take_managed(size_t bytes) { return ::operator new(bytes); }
void give_managed(void* block) { ::operator delete(block); }
void wait_for_device() { emulator::finish_all(); }

}  // namespace passnorm::test

#elif PASSNORM_TEST_CUDA

#include <cuda_runtime_api.h>

#include "kernels/cuda/check.hpp"

namespace passnorm::test {

void* take_managed(size_t bytes) {
  void* block = nullptr;
  PASSNORM_CALL(cudaMallocManaged(&block, bytes, cudaMemAttachGlobal));
  return block;
}
void give_managed(void* block) { cudaFree(block); }
void wait_for_device() { PASSNORM_CALL(cudaDeviceSynchronize()); }

}  // namespace passnorm::test

#endif
