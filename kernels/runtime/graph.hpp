// Work that repeats without the host's part: on a GPU one CUDA graph.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm {

/// What work that is recorded refers to, as far as the caller names it.
struct CapturedMemory {
  const MemoryPlan* plan = nullptr;       ///< of what it takes and returns
  std::vector<ConstView> permanent = {};  ///< all else
};

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

  /// Always on the same stream. Error(kBug) in place of a replay where plan, addresses, types or
  /// sizes are not those of the record.
  void run(Stream& stream, const std::function<void()>& work, const CapturedMemory& memory = {});
  bool captured() const { return graph_ != nullptr; }
  /// Kernels and copies of a replay; 0 before.
  size_t nodes() const;

 private:
  void check_unchanged(const CapturedMemory& memory) const;

  const Stream* stream_ = nullptr;  ///< of all runs
  std::shared_ptr<void> graph_;
  const MemoryPlan* plan_ = nullptr;  ///< these three: of the record
  int64_t plan_version_ = 0;
  std::vector<ConstView> permanent_;
  bool settled_ = false;  ///< the last run took no memory from the system
  size_t slab_moves_ = 0;
};

}  // namespace passnorm
