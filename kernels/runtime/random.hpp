// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011). No state: the same (key,
// counter) gives the same four words on every device, thread count and after every resume. Plain
// C++: also included by .cu files.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "kernels/runtime/check.hpp"

namespace passnorm {

/// What a stream of random numbers is for: streams of different purposes never share a number.
enum class Purpose : uint32_t {
  kInit = 1,
  kShuffle,
  kAugment,
  kDropout,
  kPassport,
  kSignature,
  kSynthetic,
  kAttack,
  kTest
};

struct PhiloxKey {
  uint32_t k0 = 0;
  uint32_t k1 = 0;
};

struct PhiloxWords {
  uint32_t w[4];
};

/// Ten rounds of Philox4x32 on the 128-bit counter (c0..c3).
PASSNORM_HOST_DEVICE inline PhiloxWords philox(PhiloxKey key, uint32_t c0, uint32_t c1, uint32_t c2,
                                               uint32_t c3) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ key.k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ key.k1;
    c3 = static_cast<uint32_t>(p0);
    key.k0 += 0x9E3779B9u;
    key.k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// Uniform in [0, 1) with 24 random bits.
PASSNORM_HOST_DEVICE inline float uniform01(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}

/// The random numbers of one purpose under one seed, addressed by (stream, index): stream is an
/// epoch or a tensor, index an image or an element.
class Random {
 public:
  PASSNORM_HOST_DEVICE Random(uint64_t seed, Purpose purpose, uint32_t stream = 0)
      : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
        purpose_(static_cast<uint32_t>(purpose)),
        stream_(stream) {}

  /// Four words of number `index`.
  PASSNORM_HOST_DEVICE PhiloxWords words(uint64_t index) const {
    return philox(key_, static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), stream_,
                  purpose_);
  }
  PASSNORM_HOST_DEVICE uint32_t word(uint64_t index) const {
    return words(index >> 2).w[index & 3];
  }
  /// Uniform in [0, 1).
  PASSNORM_HOST_DEVICE float uniform(uint64_t index) const { return uniform01(word(index)); }
  /// Uniform integer in [0, n), n < 2^32 (multiply-shift; bias below n / 2^32).
  PASSNORM_HOST_DEVICE uint32_t below(uint64_t index, uint32_t n) const {
    return static_cast<uint32_t>((uint64_t{word(index)} * n) >> 32);
  }
  /// Standard normal (Box-Muller on one half of a block of four words).
  float normal(uint64_t index) const {
    const PhiloxWords b = words(index >> 1);
    const int h = static_cast<int>(index & 1) * 2;
    const double u = (static_cast<double>(b.w[h]) + 1.0) * 0x1p-32;
    const double v = static_cast<double>(b.w[h + 1]) * 0x1p-32;
    return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v));
  }

 private:
  PhiloxKey key_;
  uint32_t purpose_;
  uint32_t stream_;
};

}  // namespace passnorm
