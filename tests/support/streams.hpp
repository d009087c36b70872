// Streams that tests share: making one is dear, and results may not depend on which one is used.
#pragma once

#include <gtest/gtest.h>

#include <array>

#include "kernels/runtime/stream.hpp"
#include "tests/support/buffer.hpp"
#include "tests/support/compare.hpp"

namespace passnorm::test {

/// CPU streams with 1, 2 and 3 threads (more than the cores of a small machine, and a count that
/// divides nothing).
inline std::array<CpuStream, 3>& streams() {
  static std::array<CpuStream, 3> all{CpuStream(1), CpuStream(2), CpuStream(3)};
  return all;
}
inline CpuStream& stream() { return streams()[1]; }

/// Runs `run(stream)`, which returns its output buffers in a vector, on every stream: the bits must
/// be the same. Returns the outputs of the first.
template <class F>
std::vector<Buffer> on_every_stream(F&& run) {
  std::vector<Buffer> first = run(streams()[0]);
  for (size_t k = 1; k < streams().size(); ++k) {
    const std::vector<Buffer> other = run(streams()[k]);
    for (size_t i = 0; i < first.size(); ++i)
      EXPECT_TRUE(same_bits(first[i], other[i]))
          << "output " << i << " with 1 and " << k + 1 << " threads";
  }
  return first;
}

/// A vector of buffers, which can only be moved: list(std::move(a), std::move(b)).
template <class... Buffers>
std::vector<Buffer> list(Buffers&&... buffers) {
  std::vector<Buffer> v;
  (v.push_back(std::forward<Buffers>(buffers)), ...);
  return v;
}

}  // namespace passnorm::test
