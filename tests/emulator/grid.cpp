#include "tests/emulator/grid.hpp"

namespace passnorm::emulator {

void Grid::begin(size_t place) {
  if (!turns_) return;  // for ThreadSanitizer the mutex would order what blocks do
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return is_turn(place); });
}

void Grid::end() {
  const std::lock_guard lock(mutex_);
  ++ended_;
  pass_on();
}

bool Grid::meet(size_t place) {
  std::unique_lock lock(mutex_);
  const size_t now = generation_;
  ++waiting_;
  pass_on();
  changed_.wait(lock, [&] { return broken_ || (generation_ != now && is_turn(place)); });
  return generation_ != now;
}

void Grid::pass_on() {
  turn_ = (turn_ + 1) % blocks_;
  if (waiting_ == blocks_)
    waiting_ = 0, ++generation_;
  else if (waiting_ > 0 && waiting_ + ended_ == blocks_)
    broken_ = true;
  changed_.notify_all();
}

}  // namespace passnorm::emulator
