// Memory of a device, kept for reuse: after the first step of a shape a training step takes nothing
// from the system.
#pragma once

#include <cstddef>
#include <memory>

namespace passnorm {

/// Blocks of host memory by size class. A returned block serves the next request of its class, so a
/// step that repeats gets the same blocks again. Blocks of 2 MiB and more are aligned to huge pages
/// and ask for them. Thread-safe.
class MemoryPool {
 public:
  MemoryPool();
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  /// At least `bytes` bytes, aligned to 64; contents are undefined, and NaN for every float type
  /// when poison is on. Throws Error(kMemory) that says what was asked, held and peak.
  void* allocate(size_t bytes);
  void release(void* block, size_t bytes);

  /// Fills every block with 0xFF before it is handed out (tests).
  void poison(bool on);

  size_t held_bytes() const;    ///< taken from the system
  size_t used_bytes() const;    ///< handed out now
  size_t peak_bytes() const;    ///< most ever handed out
  size_t system_calls() const;  ///< blocks taken from the system so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace passnorm
