#include "kernels/runtime/stream.hpp"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/onednn.hpp"

namespace passnorm {

// omp_get_num_procs counts the cores that this process may run on, not those of the machine. More
// threads than OMP_THREAD_LIMIT never come: oneDNN would wait for them forever.
CpuStream::CpuStream(int threads)
    : Stream(Device::cpu(), std::make_shared<MemoryPool>()),
      threads_(std::min(threads > 0 ? threads : omp_get_num_procs(), omp_get_thread_limit())) {
  if (threads < 0)
    fail(Fault::kUsage, "threads must be 1 or more, or 0 for all cores, not ", threads);
  vendor_ = std::make_unique<Vendor>();
}

CpuStream::~CpuStream() = default;

void CpuStream::copy_to_device(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
}
void CpuStream::copy_to_host(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
}
void CpuStream::fill_bytes(void* to, int byte, size_t bytes) { std::memset(to, byte, bytes); }

std::unique_ptr<Stream> make_stream(Device device, int threads) {
  if (device.kind == Device::Kind::kCpu) return std::make_unique<CpuStream>(threads);
#if PASSNORM_WITH_CUDA
  return std::make_unique<CudaStream>(device.index);
#else
  fail(Fault::kMachine, device.name(),
       " was asked for, but this program was built without CUDA; use --device cpu");
#endif
}

}  // namespace passnorm
