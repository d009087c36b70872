#include "engine/io/secret_bytes.hpp"

#include <sodium.h>

#include <new>

#include "engine/io/crypto.hpp"

namespace passnorm {

void* allocate_secret(size_t bytes) {
  require_sodium();
  void* const block = sodium_malloc(bytes);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void release_secret(void* block) noexcept { sodium_free(block); }

}  // namespace passnorm
