// Work that repeats without the host's part: on a GPU one CUDA graph.
#pragma once

#include <functional>
#include <memory>

#include "kernels/runtime/stream.hpp"

namespace passnorm {

/// A step that always issues the same kernels on the same memory. The first runs call `work`, which
/// settles its memory (MemoryPlan) and its plans (cuDNN). Once a run took no memory from the system
/// the next one records `work`, and later ones replay the record with one call. When the slab of
/// planned memory has moved, it all begins again. On the CPU every run calls `work`. Between record
/// and replay nothing that the kernels refer to may move: memory is planned or permanent (what
/// `work` returns is kept by the caller), and values that change are read from device memory
/// (DeviceValue). Work that takes memory from the system or waits for the device cannot be recorded
/// (Error kBug).
class CapturedWork {
 public:
  CapturedWork() = default;
  CapturedWork(const CapturedWork&) = delete;
  CapturedWork& operator=(const CapturedWork&) = delete;

  void run(Stream& stream, const std::function<void()>& work);
  bool captured() const { return graph_ != nullptr; }
  /// Kernels and copies of a replay; 0 before.
  size_t nodes() const;

 private:
  std::shared_ptr<void> graph_;
  bool settled_ = false;  ///< the last run took no memory from the system
  size_t slab_moves_ = 0;
};

}  // namespace passnorm
