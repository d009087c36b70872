// One of the emulated GPU's multiprocessors: runs the blocks of a launch one after the other.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <exception>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/emulator/fibre.hpp"
#include "tests/emulator/grid.hpp"
#include "tests/emulator/machine.hpp"
#include "tests/emulator/schedule.hpp"

namespace passnorm::emulator {

class Processor {
 public:
  /// The one whose block runs on this thread of the CPU. KernelError outside kernels.
  static Processor& current();

  /// On the calling thread of the CPU. grid: of a cooperative launch, where the block has `place`.
  void run_block(const Launch& launch, const Schedule& schedule, void* launch_fence, uint3 index,
                 Grid* grid = nullptr, size_t place = 0);

  // Called by the block's threads (machine.hpp).
  int block_barrier(Reduction reduction, bool predicate, const Where& where);
  void grid_barrier(const Where& where);
  enum class Exchange { kBarrier, kShuffle, kBallot };
  std::uint64_t exchange(Exchange kind, unsigned mask, std::uint64_t value, unsigned source,
                         const Where& where);
  void fence(Scope scope);
  void before_atomic();
  [[noreturn]] void fail(const std::string& what) const;

 private:
  struct Thread {
    std::unique_ptr<Fibre> fibre;
    uint3 index{};
    unsigned number = 0;  ///< in the block
    Where where;          ///< it waits
  };
  /// What a lane brings to an exchange, and what it gets.
  struct Part {
    Exchange kind;
    unsigned mask, source;
    std::uint64_t value, result;
    char* token;
  };
  /// One bit per lane.
  struct Warp {
    unsigned alive = 0;       ///< has not exited
    unsigned ready = 0;       ///< can go on
    unsigned preempted = 0;   ///< ready, after the other warps
    unsigned at_barrier = 0;  ///< of the block
    unsigned exchanging = 0;
    std::array<Part, 32> part;
    unsigned tokens_used = 0;
    std::array<char, 64> token{};
  };
  struct GiveUp {};  ///< unwinds the threads that are left after a failure

  void start(unsigned threads);
  void thread_main(Thread& thread);
  void schedule(unsigned threads);
  void run_warp(unsigned index);
  void resume(Thread& thread);
  void suspend();
  int wait_for_all(bool of_grid, Reduction reduction, bool predicate, const Where& where);
  void complete_exchanges(unsigned index);
  void end_barrier(unsigned threads);
  void arrange(std::vector<unsigned>& order);
  std::string waiting(unsigned threads) const;
  bool failed() const { return !error_.empty() || failure_; }

  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Warp> warps_;
  std::vector<unsigned> lane_order_, warp_order_;
  const Launch* launch_ = nullptr;
  Schedule schedule_;
  std::mt19937_64 random_;
  std::vector<std::byte> shared_;
  uint3 block_{};
  Thread* running_ = nullptr;
  unsigned alive_ = 0, arrived_ = 0;
  // The block's barrier.
  Where barrier_;
  Reduction reduction_ = Reduction::kNone;
  int count_ = 0, result_ = 0;
  unsigned generation_ = 0;
  bool of_grid_ = false;  ///< and of the other blocks'
  Grid* grid_ = nullptr;
  size_t place_ = 0, grid_barriers_ = 0;
  // Why the block stops early: a rule of CUDA that was broken, or an exception of the kernel.
  std::string error_;
  std::exception_ptr failure_;
  bool giving_up_ = false;
  // For ThreadSanitizer.
  void* launch_fence_ = nullptr;
  char begin_{}, end_{}, block_fence_{};
  std::array<char, 2> barrier_token_{};
};

}  // namespace passnorm::emulator
