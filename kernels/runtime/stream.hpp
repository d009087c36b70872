// Streams: the stream's type is the device. A kernel is a plain function overloaded on CpuStream&
// (and CudaStream&).
#pragma once

#include <memory>

#include "kernels/runtime/device.hpp"
#include "kernels/runtime/memory.hpp"

namespace passnorm {

/// Work in order on one device, with the device's memory. Not thread-safe; one stream per host
/// thread.
class Stream {
 public:
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  /// Shared: tensors may outlive the stream.
  const std::shared_ptr<MemoryPool>& memory() const { return memory_; }

 protected:
  Stream(Device device, std::shared_ptr<MemoryPool> memory)
      : device_(device), memory_(std::move(memory)) {}

 private:
  Device device_;
  std::shared_ptr<MemoryPool> memory_;
};

/// The CPU with a fixed number of threads. Results depend on that number only where oneDNN's do.
class CpuStream final : public Stream {
 public:
  /// threads = 0: all cores of this process.
  explicit CpuStream(int threads = 0);
  ~CpuStream() override;

  int threads() const { return threads_; }

  struct Vendor;  ///< oneDNN engine and primitives (kernels/cpu/onednn.hpp)
  Vendor& vendor() { return *vendor_; }

 private:
  int threads_;
  std::unique_ptr<Vendor> vendor_;
};

/// A stream on a device. threads: of a CPU stream, 0 = all cores.
std::unique_ptr<Stream> make_stream(Device device, int threads = 0);

/// Calls f with the stream as its own type. A build without CUDA has only the CPU branch.
template <class F>
decltype(auto) dispatch(Stream& stream, F&& f) {
  return f(static_cast<CpuStream&>(stream));
}

}  // namespace passnorm
