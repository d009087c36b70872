#include "tests/emulator/fibre.hpp"

#include <unistd.h>

#include <boost/context/protected_fixedsize_stack.hpp>
#include <utility>

// The sanitizers' interfaces, null in programs without them.
extern "C" {
[[gnu::weak]] void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom,
                                                  size_t size);
[[gnu::weak]] void __sanitizer_finish_switch_fiber(void* fake_stack, const void** old_bottom,
                                                   size_t* old_size);
[[gnu::weak]] void* __tsan_get_current_fiber();
[[gnu::weak]] void* __tsan_create_fiber(unsigned flags);
[[gnu::weak]] void __tsan_switch_to_fiber(void* fiber, unsigned flags);
[[gnu::weak]] void __tsan_set_fiber_name(void* fiber, const char* name);
[[gnu::weak]] void __tsan_acquire(void* address);
[[gnu::weak]] void __tsan_release(void* address);
[[gnu::weak]] void AnnotateIgnoreReadsBegin(const char* file, int line);
[[gnu::weak]] void AnnotateIgnoreReadsEnd(const char* file, int line);
[[gnu::weak]] void AnnotateIgnoreWritesBegin(const char* file, int line);
[[gnu::weak]] void AnnotateIgnoreWritesEnd(const char* file, int line);
}

namespace passnorm::emulator {
namespace {

namespace context = boost::context;

constexpr size_t kStackBytes = 256 << 10;
constexpr unsigned kNoSync = 1;  // __tsan_switch_to_fiber_no_sync

bool has_address_sanitizer() { return &__sanitizer_start_switch_fiber != nullptr; }

}  // namespace

bool has_thread_sanitizer() { return &__tsan_create_fiber != nullptr; }

Fibre::Fibre(std::function<void()> step) : step_(std::move(step)) {
  context::protected_fixedsize_stack stacks(kStackBytes);
  const context::stack_context stack = stacks.allocate();
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));  // the guard, at the lower end
  size_ = stack.size - page;
  bottom_ = static_cast<std::byte*>(stack.sp) - size_;
  if (has_thread_sanitizer()) thread_ = __tsan_create_fiber(0);
  inside_ = context::fiber(std::allocator_arg, context::preallocated(stack.sp, stack.size, stack),
                           stacks, [this](context::fiber&& outside) {
                             outside_ = std::move(outside);
                             arrived();
                             for (;;) {
                               step_();
                               suspend();
                             }
                             return context::fiber();
                           });
}

void Fibre::resume() {
  if (has_thread_sanitizer()) {
    outside_thread_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(thread_, kNoSync);
  }
  if (has_address_sanitizer()) __sanitizer_start_switch_fiber(&outside_fake_stack_, bottom_, size_);
  inside_ = std::move(inside_).resume();
  if (has_address_sanitizer())
    __sanitizer_finish_switch_fiber(outside_fake_stack_, nullptr, nullptr);
}

void Fibre::suspend() {
  if (has_thread_sanitizer()) __tsan_switch_to_fiber(outside_thread_, kNoSync);
  if (has_address_sanitizer())
    __sanitizer_start_switch_fiber(&fake_stack_, outside_bottom_, outside_size_);
  outside_ = std::move(outside_).resume();
  arrived();
}

void Fibre::arrived() {
  if (has_address_sanitizer())
    __sanitizer_finish_switch_fiber(fake_stack_, &outside_bottom_, &outside_size_);
}

void Fibre::set_name(const std::string& name) {
  if (has_thread_sanitizer()) __tsan_set_fiber_name(thread_, name.c_str());
}

void release(void* token) {
  if (has_thread_sanitizer()) __tsan_release(token);
}
void acquire(void* token) {
  if (has_thread_sanitizer()) __tsan_acquire(token);
}

Unseen::Unseen() {
  if (!has_thread_sanitizer()) return;
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
Unseen::~Unseen() {
  if (!has_thread_sanitizer()) return;
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}

}  // namespace passnorm::emulator
