// Memory of the stream's pool as NVIDIA's libraries want it.
#pragma once

#include <cstddef>

#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {

/// `bytes` bytes, aligned to 256; null for none.
class Workspace {
 public:
  Workspace(const CudaStream& stream, int64_t bytes)
      : block_(stream, bytes > 0 ? bytes + kAlignment : 0) {}

  void* data() const {
    const auto p = reinterpret_cast<std::uintptr_t>(block_.data());
    return reinterpret_cast<void*>((p + kAlignment - 1) / kAlignment * kAlignment);
  }

 private:
  static constexpr std::uintptr_t kAlignment = 256;
  Scratch<std::byte> block_;
};

}  // namespace passnorm::kernels
