// Deterministic test data: the same numbers on every machine and in every run.
#pragma once

#include <vector>

#include "kernels/runtime/random.hpp"

namespace passnorm::test {

/// n numbers uniform in [low, high); every tag is its own sequence.
inline std::vector<double> uniform(int64_t n, uint32_t tag, double low = -1, double high = 1) {
  const Random random(20260101, Purpose::kTest, tag);
  std::vector<double> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = low + (high - low) * random.uniform(i);
  return v;
}

/// n whole numbers in [0, below).
inline std::vector<double> whole(int64_t n, uint32_t tag, uint32_t below) {
  const Random random(20260101, Purpose::kTest, tag);
  std::vector<double> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = random.below(i, below);
  return v;
}

}  // namespace passnorm::test
