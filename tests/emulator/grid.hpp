// Blocks of a cooperative launch, each on a thread of the CPU of its own: their turns, and where
// they meet.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace passnorm::emulator {

class Grid {
 public:
  /// turns: one block goes on at a time, from place 0 to the last, each until it waits or ends.
  Grid(size_t blocks, bool turns) : blocks_(blocks), turns_(turns) {}

  /// Called by the block of a place: when it starts, and when it has ended, in any way.
  void begin(size_t place);
  void end();
  /// Waits until all blocks have called it; false: some have ended, and never will.
  bool meet(size_t place);
  /// For ThreadSanitizer: of the n-th barrier. No block reaches the next but one before all have
  /// left it.
  void* token(size_t n) { return &tokens_[n % tokens_.size()]; }

 private:
  bool is_turn(size_t place) const { return !turns_ || broken_ || turn_ == place; }
  void pass_on();

  const size_t blocks_;
  const bool turns_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t turn_ = 0, waiting_ = 0, ended_ = 0, generation_ = 0;
  bool broken_ = false;
  std::array<char, 2> tokens_{};
};

}  // namespace passnorm::emulator
