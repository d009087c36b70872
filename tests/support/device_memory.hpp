// Memory that a test and the kernels both read and write.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

namespace passnorm::test {

#if PASSNORM_TEST_CUDA
// tests/support/device_memory.cpp: managed memory of a GPU, plain memory of the emulator.
void* take_managed(size_t bytes);
void give_managed(void* block);
void wait_for_device();
#else
inline void* take_managed(size_t bytes) { return ::operator new(bytes); }
inline void give_managed(void* block) { ::operator delete(block); }
inline void wait_for_device() {}
#endif

/// Kernels may be at work on memory of a test: they were given a stream or a pointer.
inline bool& results_are_due() {
  static bool due = false;
  return due;
}
/// Before the test reads or writes that memory.
inline void settle() {
  if (std::exchange(results_are_due(), false)) wait_for_device();
}

/// For std::vector.
template <class T>
struct ManagedAllocator {
  using value_type = T;
  ManagedAllocator() = default;
  template <class U>
  ManagedAllocator(const ManagedAllocator<U>&) {}  // NOLINT: allocators convert
  T* allocate(size_t n) { return static_cast<T*>(take_managed(n * sizeof(T))); }
  void deallocate(T* block, size_t) { give_managed(block); }
  bool operator==(const ManagedAllocator&) const = default;
};

}  // namespace passnorm::test
