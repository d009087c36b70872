#include "kernels/runtime/memory.hpp"

#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "kernels/runtime/check.hpp"

namespace passnorm {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;

/// Rounds up to one of four classes per power of two, and to whole huge pages from one on.
size_t size_class(size_t bytes) {
  if (bytes <= 256) return 256;
  size_t step = std::bit_floor(bytes - 1) / 4;
  if (bytes > kHugePage) step = std::max(step, kHugePage);
  return (bytes + step - 1) / step * step;
}

class HostMemory final : public MemorySource {
 public:
  void* take(size_t bytes) override {
    void* block = std::aligned_alloc(bytes >= kHugePage ? kHugePage : kAlignment, bytes);
    if (block != nullptr && bytes >= kHugePage)
      madvise(block, bytes, MADV_HUGEPAGE);  // best effort: without it only slower
    return block;
  }
  void give(void* block, size_t) override { std::free(block); }
  void fill(void* block, int byte, size_t bytes) override {
    byte == 0 ? explicit_bzero(block, bytes) : void(std::memset(block, byte, bytes));
  }
  size_t free_bytes() const override {
    return static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) *
           static_cast<size_t>(sysconf(_SC_PAGESIZE));
  }
};

}  // namespace

std::unique_ptr<MemorySource> host_memory() { return std::make_unique<HostMemory>(); }

struct MemoryPool::State {
  std::unique_ptr<MemorySource> source;
  mutable std::mutex mutex;
  std::unordered_map<size_t, std::vector<void*>> free;
  size_t held = 0, used = 0, peak = 0, system_calls = 0, slab_moves = 0;
  bool poison = false, keeps_to_itself = false;

  // The run of a plan, by the thread that began it.
  MemoryPlan* plan = nullptr;
  std::thread::id owner;
  bool follows = false;  // the plan so far; false while it is made or when the run left it
  size_t next_event = 0;
  std::unordered_map<void*, int64_t> blocks;  // of the run, by address
  std::unordered_set<void*> returned;         // by a run whose plan is being made
  std::byte* slab = nullptr;
  size_t slab_bytes = 0;
  int64_t slab_blocks = 0;  // handed out and not returned

  void* from_system(size_t size, size_t asked);
  void* take(size_t bytes);
  void give(void* block, size_t bytes);
  /// Gives what nobody has back to the system: all, or those of these addresses.
  void trim(const std::unordered_set<void*>* only = nullptr);
  void grow_slab(size_t bytes);
  bool in_slab(const void* block) const {
    return slab != nullptr && block >= slab && block < slab + slab_bytes;
  }
  bool in_run() const {
    return plan != nullptr && owner == std::this_thread::get_id() && !omp_in_parallel();
  }
  void count(size_t more) {
    used += more;
    peak = std::max(peak, used);
  }
};

MemoryPool::MemoryPool(std::unique_ptr<MemorySource> source) : state_(std::make_unique<State>()) {
  state_->source = std::move(source);
}

MemoryPool::~MemoryPool() {
  state_->trim();
  if (state_->slab != nullptr) state_->source->give(state_->slab, state_->slab_bytes);
}

void* MemoryPool::State::from_system(size_t size, size_t asked) {
  PASSNORM_CHECK(!keeps_to_itself, "memory from the system inside a recorded step");
  void* block = source->take(size);
  if (block == nullptr) {  // returned blocks of other classes may make room
    trim();
    block = source->take(size);
  }
  if (block == nullptr)
    fail(Fault::kMemory, "out of memory: ", asked >> 20, " MiB asked, ", source->free_bytes() >> 20,
         " MiB free, ", used >> 20, " MiB in use, peak ", peak >> 20,
         " MiB; use a smaller --batch");
  held += size;
  ++system_calls;
  return block;
}

void* MemoryPool::State::take(size_t bytes) {
  const size_t size = size_class(bytes);
  void* block = nullptr;
  if (auto& blocks_of_class = free[size]; !blocks_of_class.empty()) {
    block = blocks_of_class.back();
    blocks_of_class.pop_back();
  } else {
    block = from_system(size, bytes);
  }
  count(size);
  return block;
}

void MemoryPool::State::give(void* block, size_t bytes) {
  const size_t size = size_class(bytes);
  free[size].push_back(block);
  used -= size;
}

void MemoryPool::State::trim(const std::unordered_set<void*>* only) {
  for (auto& [size, blocks_of_class] : free)
    std::erase_if(blocks_of_class, [&, size = size](void* block) {
      if (only != nullptr && !only->contains(block)) return false;
      source->give(block, size);
      held -= size;
      return true;
    });
}

void MemoryPool::State::grow_slab(size_t bytes) {
  const size_t size = size_class(bytes);
  if (size <= slab_bytes) return;
  if (slab != nullptr) source->give(slab, slab_bytes);
  ++slab_moves;
  held -= slab_bytes;
  used -= slab_bytes;
  slab = nullptr;
  slab_bytes = 0;
  slab = static_cast<std::byte*>(from_system(size, bytes));
  slab_bytes = size;
  count(size);
}

void* MemoryPool::allocate(size_t bytes) {
  State& s = *state_;
  std::lock_guard lock(s.mutex);
  void* block = nullptr;
  if (!s.in_run()) {
    block = s.take(bytes);
  } else if (!s.plan->planned_) {
    block = s.take(bytes);
    const auto i = std::ssize(s.plan->blocks_);
    s.plan->blocks_.push_back({bytes, std::ssize(s.plan->events_), -1, 0});
    s.plan->events_.push_back(i);
    s.blocks[block] = i;
  } else {
    const int64_t i =
        s.follows && s.next_event < s.plan->events_.size() ? s.plan->events_[s.next_event] : -1;
    s.follows = i >= 0 && s.plan->blocks_[static_cast<size_t>(i)].bytes == bytes;
    if (s.follows) ++s.next_event;
    if (s.follows && s.plan->blocks_[static_cast<size_t>(i)].returned >= 0) {
      block = s.slab + s.plan->blocks_[static_cast<size_t>(i)].offset;
      s.blocks[block] = i;
      ++s.slab_blocks;
    } else {
      block = s.take(bytes);
    }
  }
  if (s.poison) s.source->fill(block, 0xFF, bytes);
  return block;
}

void MemoryPool::release(void* block, size_t bytes) {
  State& s = *state_;
  std::lock_guard lock(s.mutex);
  const bool in_slab = s.in_slab(block);
  if (const auto found = s.in_run() ? s.blocks.find(block) : s.blocks.end();
      found != s.blocks.end()) {
    const int64_t i = found->second;
    s.blocks.erase(found);
    if (!s.plan->planned_) {
      s.plan->blocks_[static_cast<size_t>(i)].returned = std::ssize(s.plan->events_);
      s.plan->events_.push_back(~i);
      s.returned.insert(block);
    } else {
      s.follows =
          s.follows && s.next_event < s.plan->events_.size() && s.plan->events_[s.next_event] == ~i;
      if (s.follows) ++s.next_event;
    }
  }
  if (in_slab)
    --s.slab_blocks;
  else
    s.give(block, bytes);
}

void MemoryPool::wipe(void* block, size_t bytes) {
  std::lock_guard lock(state_->mutex);
  try {
    state_->source->fill(block, 0, bytes);
  } catch (const std::exception&) {
    // A device that has failed: the next call that may throw reports it.
  }
}

bool MemoryPool::begin(MemoryPlan& plan) {
  State& s = *state_;
  std::lock_guard lock(s.mutex);
  // A block of the slab that outlived its run (it had left the plan) keeps the slab until it goes.
  if (s.plan != nullptr || s.slab_blocks > 0) return false;
  if (plan.planned_) s.grow_slab(plan.slab_bytes_);  // or throws: then there is no run
  s.plan = &plan;
  s.owner = std::this_thread::get_id();
  s.follows = plan.planned_;
  s.next_event = 0;
  s.blocks.clear();
  return true;
}

void MemoryPool::end() {
  State& s = *state_;
  std::lock_guard lock(s.mutex);
  MemoryPlan& plan = *s.plan;
  s.plan = nullptr;
  s.blocks.clear();
  if (!plan.planned_) {
    plan.place_blocks();
    s.trim(&s.returned);  // the slab replaces them
    s.returned.clear();
  } else if (!s.follows || s.next_event != plan.events_.size()) {
    plan.planned_ = false;
    plan.blocks_.clear();
    plan.events_.clear();
  }
}

MemoryPlan::Run::Run(MemoryPool& pool, MemoryPlan& plan) : pool_(pool), active_(pool.begin(plan)) {}
MemoryPlan::Run::~Run() {
  if (active_) pool_.end();
}

// The largest first, each at the lowest place that is free during its life (best fit by size:
// Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020).
void MemoryPlan::place_blocks() {
  std::vector<Block*> order, placed;  // placed: by offset
  block_bytes_ = slab_bytes_ = 0;
  for (Block& b : blocks_)
    if (b.returned >= 0) order.push_back(&b);
  std::ranges::stable_sort(order, std::greater(), [](const Block* b) { return b->bytes; });
  const auto rounded = [](size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  for (Block* b : order) {
    size_t offset = 0;
    for (const Block* other : placed) {
      if (other->taken > b->returned || b->taken > other->returned) continue;
      if (offset + rounded(b->bytes) <= other->offset) break;
      offset = std::max(offset, other->offset + rounded(other->bytes));
    }
    b->offset = offset;
    placed.insert(std::ranges::upper_bound(placed, offset, {}, &Block::offset), b);
    block_bytes_ += rounded(b->bytes);
    slab_bytes_ = std::max(slab_bytes_, offset + rounded(b->bytes));
  }
  planned_ = true;
  ++version_;
}

void MemoryPool::keep_to_itself(bool on) {
  std::lock_guard lock(state_->mutex);
  state_->keeps_to_itself = on;
}
void MemoryPool::poison(bool on) {
  std::lock_guard lock(state_->mutex);
  state_->poison = on;
}
size_t MemoryPool::held_bytes() const { return std::lock_guard(state_->mutex), state_->held; }
size_t MemoryPool::used_bytes() const { return std::lock_guard(state_->mutex), state_->used; }
size_t MemoryPool::peak_bytes() const { return std::lock_guard(state_->mutex), state_->peak; }
size_t MemoryPool::system_calls() const {
  return std::lock_guard(state_->mutex), state_->system_calls;
}
size_t MemoryPool::slab_moves() const { return std::lock_guard(state_->mutex), state_->slab_moves; }

}  // namespace passnorm
