#include "kernels/runtime/memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
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

}  // namespace

struct MemoryPool::State {
  mutable std::mutex mutex;
  std::unordered_map<size_t, std::vector<void*>> free;
  size_t held = 0, used = 0, peak = 0, system_calls = 0;
  bool poison = false;
};

MemoryPool::MemoryPool() : state_(std::make_unique<State>()) {}

MemoryPool::~MemoryPool() {
  for (auto& [size, blocks] : state_->free)
    for (void* block : blocks) std::free(block);
}

void* MemoryPool::allocate(size_t bytes) {
  const size_t size = size_class(bytes);
  void* block = nullptr;
  std::lock_guard lock(state_->mutex);
  if (auto& blocks = state_->free[size]; !blocks.empty()) {
    block = blocks.back();
    blocks.pop_back();
  } else {
    block = std::aligned_alloc(size >= kHugePage ? kHugePage : kAlignment, size);
    if (block == nullptr)
      fail(Fault::kMemory, "out of memory: ", bytes >> 20, " MiB asked, ", state_->used >> 20,
           " MiB in use, peak ", state_->peak >> 20, " MiB; use a smaller --batch");
    if (size >= kHugePage)
      madvise(block, size, MADV_HUGEPAGE);  // best effort: without it only slower
    state_->held += size;
    ++state_->system_calls;
  }
  state_->used += size;
  if (state_->used > state_->peak) state_->peak = state_->used;
  if (state_->poison) std::memset(block, 0xFF, size);
  return block;
}

void MemoryPool::release(void* block, size_t bytes) {
  const size_t size = size_class(bytes);
  std::lock_guard lock(state_->mutex);
  state_->free[size].push_back(block);
  state_->used -= size;
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

}  // namespace passnorm
