#include "tests/emulator/machine.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>

#include "kernels/runtime/check.hpp"
#include "tests/emulator/processor.hpp"

namespace passnorm::emulator {
namespace {

/// Processors that run nothing. Making one is dear (1024 stacks), so they are kept, also at the end
/// of the program: their fibres never end.
class Idle {
 public:
  std::vector<Processor*> take(size_t count) {
    const std::lock_guard lock(mutex_);
    while (idle_.size() < count) idle_.push_back(new Processor);
    const std::vector<Processor*> taken(idle_.end() - static_cast<ptrdiff_t>(count), idle_.end());
    idle_.resize(idle_.size() - count);
    return taken;
  }
  void give(const std::vector<Processor*>& back) {
    const std::lock_guard lock(mutex_);
    idle_.insert(idle_.end(), back.begin(), back.end());
  }

 private:
  std::mutex mutex_;
  std::vector<Processor*> idle_;
};
Idle& idle() {
  static Idle& all = *new Idle;
  return all;
}

size_t blocks_of(const Launch& l) { return size_t{l.grid.x} * l.grid.y * l.grid.z; }

/// Blocks that a multiprocessor of compute capability 9.0 runs at a time, as far as its threads and
/// its shared memory, of which it keeps 1 KB for each, allow.
size_t resident_blocks(const Launch& l) {
  const size_t threads = (l.block.x * l.block.y * l.block.z + 31) / 32 * 32;
  return std::min({size_t{32}, 2048 / threads, (size_t{228} << 10) / (l.shared_bytes + 1024)});
}

std::string text(const dim3& d) { return concat(d.x, "x", d.y, "x", d.z); }

}  // namespace

void check(const Launch& l) {
  const auto in = [](unsigned value, unsigned limit) { return value >= 1 && value <= limit; };
  if (!in(l.block.x, 1024) || !in(l.block.y, 1024) || !in(l.block.z, 64) ||
      l.block.x * l.block.y * l.block.z > 1024)
    throw KernelError(concat("a launch with blocks of ", text(l.block), " threads"));
  if (!in(l.grid.x, 0x7fffffff) || !in(l.grid.y, 65535) || !in(l.grid.z, 65535))
    throw KernelError(concat("a launch with a grid of ", text(l.grid), " blocks"));
  // More than this has to be asked for, which gpu::launch does not.
  constexpr size_t kUnasked = 48 << 10;
  if (l.shared_bytes > (l.on_chip ? kMostSharedBytes : kUnasked))
    throw KernelError(concat("a launch with ", l.shared_bytes, " bytes of dynamic shared memory"));
  if (l.cooperative && blocks_of(l) > kMultiprocessors * resident_blocks(l))
    throw KernelError(concat("a cooperative launch of ", blocks_of(l), " blocks, of which ",
                             kMultiprocessors * resident_blocks(l), " fit"));
}

void run(const Launch& l) {
  const Schedule now = schedule();
  const size_t blocks = blocks_of(l);
  std::vector<size_t> order(blocks);
  for (size_t i = 0; i < blocks; ++i) order[i] = i;
  if (now.order == Order::kDescending) std::ranges::reverse(order);
  if (now.order == Order::kRandom) std::ranges::shuffle(order, std::mt19937_64(now.seed));

  const size_t threads =
      l.cooperative ? blocks : std::min(static_cast<size_t>(std::max(now.threads, 1)), blocks);
  const std::vector<Processor*> processors = idle().take(threads);
  std::mutex mutex;
  std::exception_ptr failure;  // the first
  char fence = 0;
  const auto run_block = [&](size_t place, Grid* grid) {
    const auto i = static_cast<unsigned>(order[place]);
    processors[place % threads]->run_block(
        l, now, &fence, {i % l.grid.x, i / l.grid.x % l.grid.y, i / (l.grid.x * l.grid.y)}, grid,
        place);
  };
  const auto keep_failure = [&] {
    const std::lock_guard lock(mutex);
    if (!failure) failure = std::current_exception();
  };
  Grid grid(blocks, now.threads == 1);
  // Processors never wait for each other but at barriers of the grid: ThreadSanitizer would see no
  // race between their blocks.
  const auto work = [&](size_t first) {
    try {
      if (l.cooperative) {
        grid.begin(first);
        run_block(first, &grid);
      } else {
        for (size_t k = first; k < blocks; k += threads) run_block(k, nullptr);
      }
    } catch (...) {
      keep_failure();
    }
    if (l.cooperative) grid.end();
  };
  if (threads == 1) {
    work(0);
  } else {
    std::vector<std::jthread> running;
    for (size_t i = 0; i < threads; ++i) running.emplace_back(work, i);
  }
  idle().give(processors);
  if (failure) std::rethrow_exception(failure);
}

int block_barrier(Reduction reduction, bool predicate, const Where& where) {
  return Processor::current().block_barrier(reduction, predicate, where);
}
void grid_barrier(const Where& where) { Processor::current().grid_barrier(where); }
void warp_barrier(unsigned mask, const Where& where) {
  Processor::current().exchange(Processor::Exchange::kBarrier, mask, 0, 0, where);
}
std::uint64_t warp_shuffle(unsigned mask, std::uint64_t value, unsigned source,
                           const Where& where) {
  return Processor::current().exchange(Processor::Exchange::kShuffle, mask, value, source, where);
}
unsigned warp_ballot(unsigned mask, bool vote, const Where& where) {
  return static_cast<unsigned>(
      Processor::current().exchange(Processor::Exchange::kBallot, mask, vote, 0, where));
}
void fence(Scope scope) { Processor::current().fence(scope); }
void before_atomic() { Processor::current().before_atomic(); }
void fail_kernel(const std::string& what) { Processor::current().fail(what); }

void first_touch(void* data, std::size_t bytes, std::uint64_t& block) {
  const Unseen unseen;
  std::memset(data, 0xFF, bytes);
  block = block_number;
}

}  // namespace passnorm::emulator
