#include "kernels/runtime/stream.hpp"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/onednn.hpp"

namespace passnorm {

// omp_get_num_procs counts the cores that this process may run on, not those of the machine. More
// threads than OMP_THREAD_LIMIT never come: oneDNN would wait for them forever.
CpuStream::CpuStream(StreamOptions o)
    : Stream(Device::cpu(),
             std::make_shared<MemoryPool>(o.memory ? std::move(o.memory) : host_memory())),
      threads_(std::min(o.threads > 0 ? o.threads : omp_get_num_procs(), omp_get_thread_limit())) {
  if (o.threads < 0)
    fail(Fault::kUsage, "threads must be 1 or more, or 0 for all cores, not ", o.threads);
  if (o.cuda_stream != nullptr) fail(Fault::kUsage, "a cudaStream_t for a stream of the CPU");
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

std::unique_ptr<Stream> make_stream(Device device, StreamOptions options) {
  if (device.kind == Device::Kind::kCpu) return std::make_unique<CpuStream>(std::move(options));
#if PASSNORM_WITH_CUDA
  return std::make_unique<CudaStream>(device.index, std::move(options));
#else
  fail(Fault::kMachine, device.name(),
       " was asked for, but this program was built without CUDA; use --device cpu");
#endif
}

}  // namespace passnorm
