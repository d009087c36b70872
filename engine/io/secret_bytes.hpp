// Memory for secrets: keys, bits, passphrases, and the files they stand in.
//
// It is libsodium's guarded heap: overwritten when it is released, left out of core dumps, kept out
// of the swap as far as the limit of locked memory (ulimit -l) reaches, and fenced by pages that no
// read or write crosses. A vector that grows or goes leaves nothing behind.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace passnorm {

/// std::bad_alloc when there is no more.
void* allocate_secret(size_t bytes);
void release_secret(void* block) noexcept;

template <class T>
struct SecretAllocator {
  using value_type = T;
  SecretAllocator() = default;
  template <class U>
  SecretAllocator(const SecretAllocator<U>&) {}  // NOLINT: allocators convert

  // The block ends at the end of a page: n whole T keep the alignment of T.
  T* allocate(size_t n) { return static_cast<T*>(allocate_secret(n * sizeof(T))); }
  void deallocate(T* block, size_t) noexcept { release_secret(block); }
  bool operator==(const SecretAllocator&) const { return true; }
};

template <class T>
using SecretVector = std::vector<T, SecretAllocator<T>>;
using SecretBytes = SecretVector<std::byte>;

/// A passphrase. (A string would keep a short text inside itself, where nothing wipes it.)
class SecretText {
 public:
  SecretText() = default;
  explicit SecretText(std::string_view text) : chars_(text.begin(), text.end()) {}

  std::string_view view() const { return {chars_.data(), chars_.size()}; }
  bool empty() const { return chars_.empty(); }
  size_t size() const { return chars_.size(); }
  void push_back(char c) { chars_.push_back(c); }

 private:
  SecretVector<char> chars_;
};

}  // namespace passnorm
