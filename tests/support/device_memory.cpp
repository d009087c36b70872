#include "tests/support/device_memory.hpp"

#if PASSNORM_EMULATED

#include "tests/emulator/queue.hpp"

namespace passnorm::test {

void* take_managed(size_t bytes) { return ::operator new(bytes); }
void give_managed(void* block) { ::operator delete(block); }
void wait_for_device() { emulator::finish_all(); }

}  // namespace passnorm::test

#elif PASSNORM_TEST_CUDA

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "kernels/cuda/check.hpp"
#include "kernels/runtime/device.hpp"

namespace passnorm::test {
namespace {

/// Without a GPU the tests of the program are skipped.
class NeedsGpu final : public testing::Environment {
  void SetUp() override {
    if (const GpuReport report = gpu_report(); !report.first()) GTEST_SKIP() << report.why_not(0);
  }
};
[[maybe_unused]] const testing::Environment* const needs_gpu =
    testing::AddGlobalTestEnvironment(new NeedsGpu);

}  // namespace

void* take_managed(size_t bytes) {
  void* block = nullptr;
  PASSNORM_CALL(cudaMallocManaged(&block, bytes, cudaMemAttachGlobal));
  return block;
}
void give_managed(void* block) { cudaFree(block); }
void wait_for_device() { PASSNORM_CALL(cudaDeviceSynchronize()); }

}  // namespace passnorm::test

#endif
