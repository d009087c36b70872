// Streams: the stream's type is the device. A kernel is a plain function overloaded on CpuStream&
// and CudaStream&.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/runtime/device.hpp"
#include "kernels/runtime/memory.hpp"

namespace passnorm {

/// How a stream is made, and what of it a host brings along.
struct StreamOptions {
  /// Of a CPU stream; 0: all cores of this process.
  int threads = 0;
  /// Where the memory of tensors and kernels comes from; null: from the system (host_memory(), on a
  /// GPU cudaMalloc). The stream's pool takes blocks, keeps them for reuse and gives them back when
  /// the stream and the last tensor on it are gone; then it destroys the source.
  std::unique_ptr<MemorySource> memory = nullptr;
  /// Of a GPU: the host's cudaStream_t on that device, null: one of our own. It stays the host's,
  /// who destroys it after this stream and the last tensor on it. Work is issued to it in order, so
  /// that the host's own work before and after needs no wait. Not the legacy default stream, which
  /// cannot record a step.
  void* cuda_stream = nullptr;
  /// Of a GPU: how many of cuDNN's engines are timed at the first use of a convolution; the fastest
  /// is kept on disk ($XDG_CACHE_HOME/passnorm or ~/.cache/passnorm). 1: the first that can be
  /// built is taken, nothing is timed, read or written.
  int engines = 8;
  /// Of a GPU: convolutions in 16 bits sum their result for the batch norm that follows in
  /// training, where cuDNN has an engine that does (kernels/norm_sums.hpp): the norm reads it once
  /// less. Off until a GPU has shown that it pays: `passnorm bench kernels --filter
  /// conv/statistics` has both ways.
  bool epilogue_statistics = false;
};

/// Work in order on one device, with the device's memory. Not thread-safe: one thread at a time
/// uses a stream and what is made on it; different streams may be used by different threads.
class Stream {
 public:
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  /// Shared: tensors may outlive the stream.
  const std::shared_ptr<MemoryPool>& memory() const { return memory_; }

  /// Between host and device memory, in stream order. Host memory that is not page-locked
  /// (PinnedBytes) is free for other use when these return; page-locked memory once the stream has
  /// come this far.
  virtual void copy_to_device(void* to, const void* from, size_t bytes) = 0;
  virtual void copy_to_host(void* to, const void* from, size_t bytes) = 0;
  virtual void fill_bytes(void* to, int byte, size_t bytes) = 0;
  /// Waits until all work is done. Error(kMachine) when the device reports a fault.
  virtual void synchronize() = 0;

  /// One line each, for the user, as they come up: what is done in another way than the best
  /// because the device's libraries do not offer that, and why.
  std::vector<std::string>& notes() { return notes_; }

 protected:
  Stream(Device device, std::shared_ptr<MemoryPool> memory)
      : device_(device), memory_(std::move(memory)) {}

 private:
  Device device_;
  std::shared_ptr<MemoryPool> memory_;
  std::vector<std::string> notes_;
};

/// The CPU with a fixed number of threads. Results depend on that number only where oneDNN's do.
class CpuStream final : public Stream {
 public:
  /// Error(kUsage) for negative threads and for a cudaStream_t.
  explicit CpuStream(StreamOptions options);
  explicit CpuStream(int threads = 0) : CpuStream(StreamOptions{.threads = threads}) {}
  ~CpuStream() override;

  int threads() const { return threads_; }

  void copy_to_device(void* to, const void* from, size_t bytes) override;
  void copy_to_host(void* to, const void* from, size_t bytes) override;
  void fill_bytes(void* to, int byte, size_t bytes) override;
  void synchronize() override {}

  struct Vendor;  ///< oneDNN engine and primitives (kernels/cpu/onednn.hpp)
  Vendor& vendor() { return *vendor_; }

 private:
  int threads_;
  std::unique_ptr<Vendor> vendor_;
};

class CudaStream;  ///< kernels/runtime/cuda_stream.hpp

/// A stream on a device. Error(kMachine) when this build or this machine has no such device. On a
/// GPU it becomes the current device of the calling thread; another thread that works with the
/// stream calls cudaSetDevice first, where there is more than one GPU.
std::unique_ptr<Stream> make_stream(Device device, StreamOptions options = {});
inline std::unique_ptr<Stream> make_stream(Device device, int threads) {
  return make_stream(device, StreamOptions{.threads = threads});
}

}  // namespace passnorm

#if PASSNORM_WITH_CUDA
#include "kernels/runtime/cuda_stream.hpp"
#endif

namespace passnorm {

/// Calls f with the stream as its own type. A build without CUDA has only the CPU branch.
template <class F, class Cuda = CudaStream>  // complete where it is used: its header includes this
decltype(auto) dispatch(Stream& stream, F&& f) {
#if PASSNORM_WITH_CUDA
  if (stream.device().kind == Device::Kind::kCuda) return f(static_cast<Cuda&>(stream));
#endif
  return f(static_cast<CpuStream&>(stream));
}

}  // namespace passnorm
