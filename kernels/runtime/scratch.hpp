// Memory of the stream's pool for the length of a scope.
#pragma once

#include <cstdint>

#include "kernels/runtime/stream.hpp"

namespace passnorm::kernels {

/// `size` elements of T in the device's memory, aligned to 64 bytes, contents undefined; later work
/// of the stream may have it again. May be made inside a parallel region.
template <class T>
class Scratch {
 public:
  Scratch(const Stream& stream, int64_t size)
      : pool_(*stream.memory()),
        bytes_(static_cast<size_t>(size) * sizeof(T)),
        data_(size > 0 ? static_cast<T*>(pool_.allocate(bytes_)) : nullptr) {}
  ~Scratch() {
    if (data_ != nullptr) pool_.release(data_, bytes_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() const { return data_; }

 private:
  MemoryPool& pool_;
  size_t bytes_;
  T* data_;
};

}  // namespace passnorm::kernels
