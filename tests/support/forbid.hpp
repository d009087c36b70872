// Bytes that nobody may touch, told to AddressSanitizer where the program has it.
#pragma once

#include <cstddef>

extern "C" {
[[gnu::weak]] void __asan_poison_memory_region(const volatile void* begin, std::size_t bytes);
[[gnu::weak]] void __asan_unpoison_memory_region(const volatile void* begin, std::size_t bytes);
}

namespace passnorm::test {

/// An access is reported, until `allow`.
inline void forbid(const void* begin, std::size_t bytes) {
  if (&__asan_poison_memory_region != nullptr) __asan_poison_memory_region(begin, bytes);
}
inline void allow(const void* begin, std::size_t bytes) {
  if (&__asan_unpoison_memory_region != nullptr) __asan_unpoison_memory_region(begin, bytes);
}

}  // namespace passnorm::test
