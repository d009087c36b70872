// Memory of the stream's pool for the kernels of one call: later work of the stream may have it
// again.
#pragma once

#include <cstdint>

#include "kernels/runtime/cuda_stream.hpp"

namespace passnorm::kernels {

/// `size` elements of T in device memory, aligned to 64 bytes, contents undefined.
template <class T>
class DeviceScratch {
 public:
  DeviceScratch(const CudaStream& stream, int64_t size)
      : pool_(*stream.memory()),
        bytes_(static_cast<size_t>(size) * sizeof(T)),
        data_(size > 0 ? static_cast<T*>(pool_.allocate(bytes_)) : nullptr) {}
  ~DeviceScratch() {
    if (data_ != nullptr) pool_.release(data_, bytes_);
  }
  DeviceScratch(const DeviceScratch&) = delete;
  DeviceScratch& operator=(const DeviceScratch&) = delete;

  T* data() const { return data_; }

 private:
  MemoryPool& pool_;
  size_t bytes_;
  T* data_;
};

}  // namespace passnorm::kernels
