// Memory of a device, kept for reuse: after the first step of a shape a training step takes nothing
// from the system.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace passnorm {

class MemoryPool;

/// Memory of work that repeats with the same sizes, such as a training step. The first run takes
/// blocks of the pool and notes which are taken and returned when; every later run gets its blocks
/// at fixed addresses of one slab, where blocks whose lives do not overlap share memory. A run that
/// takes or returns something else than the first did gets the rest from the pool, and the next run
/// is the first again. Blocks that outlive the run, and those taken in parallel regions, are the
/// pool's in any case. Plans of one pool run one after the other and use the same slab.
class MemoryPlan {
 public:
  MemoryPlan() = default;
  MemoryPlan(const MemoryPlan&) = delete;
  MemoryPlan& operator=(const MemoryPlan&) = delete;

  /// One run: what this thread takes while it lives. Inside another run it does nothing.
  class Run {
   public:
    Run(MemoryPool& pool, MemoryPlan& plan);
    ~Run();
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;

   private:
    MemoryPool& pool_;
    bool active_;
  };

  bool planned() const { return planned_; }
  /// Of what is planned: every plan that is made has another one; 0 while there is none.
  int64_t version() const { return planned_ ? version_ : 0; }
  size_t slab_bytes() const { return slab_bytes_; }    ///< the plan's part of the slab
  size_t block_bytes() const { return block_bytes_; }  ///< of all blocks of a run together

 private:
  friend class MemoryPool;
  struct Block {
    size_t bytes;
    int64_t taken, returned;  ///< when, counted in events; -1: outlives the run
    size_t offset;
  };
  void place_blocks();

  std::vector<Block> blocks_;
  std::vector<int64_t> events_;  ///< i: block i is taken, ~i: returned
  bool planned_ = false;
  int64_t version_ = 0;
  size_t slab_bytes_ = 0, block_bytes_ = 0;
};

/// Where a pool gets its blocks; a host may bring its own (StreamOptions). A pool makes one call at
/// a time, from whichever thread uses it; the same source behind several pools locks for itself.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  /// Memory of the stream's device, aligned to 64 bytes at least; null when there is none.
  virtual void* take(size_t bytes) = 0;
  /// A block of take, with the same size. On a GPU work that was issued before may still use it: it
  /// is freed in the stream's order (cudaFreeAsync) or after a wait (cudaFree waits).
  virtual void give(void* block, size_t bytes) = 0;
  /// In the order of the device's work; never left out by a compiler: secrets are wiped with it.
  /// Throws where the device has failed.
  virtual void fill(void* block, int byte, size_t bytes) = 0;
  /// For the message when memory ran out.
  virtual size_t free_bytes() const = 0;
};

/// Host memory. Blocks of 2 MiB and more are aligned to huge pages and ask for them.
std::unique_ptr<MemorySource> host_memory();

/// Blocks of a device's memory by size class. A returned block serves the next request of its
/// class, so a step that repeats gets the same blocks again. Thread-safe.
class MemoryPool {
 public:
  /// Owns the source; before that goes, every block is given back to it.
  explicit MemoryPool(std::unique_ptr<MemorySource> source = host_memory());
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  /// At least `bytes` bytes, aligned to 64; contents are undefined, and NaN for every float type
  /// when poison is on. Throws Error(kMemory) that says what was asked, free, in use and peak.
  void* allocate(size_t bytes);
  void release(void* block, size_t bytes);
  /// Zero bytes in place of what a block holds, before it is released. Destructors call it, those
  /// that run while an error is on its way among them: where the source throws, it does not.
  void wipe(void* block, size_t bytes);

  /// While on, as when a step is recorded, nothing is taken from the source: Error(kBug).
  void keep_to_itself(bool on);

  /// Fills every block with 0xFF before it is handed out (tests).
  void poison(bool on);

  size_t held_bytes() const;    ///< taken from the system, the slab included
  size_t used_bytes() const;    ///< handed out now; the slab counts as a whole
  size_t peak_bytes() const;    ///< most ever handed out
  size_t system_calls() const;  ///< blocks taken from the system so far
  /// How often the slab of the plans has moved: what was recorded before refers to another one.
  size_t slab_moves() const;

 private:
  friend class MemoryPlan::Run;
  bool begin(MemoryPlan& plan);
  void end();

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace passnorm
