// What dropout on both devices shares: the check of its arguments, and the mask.
#pragma once

#include "kernels/dropout.hpp"
#include "kernels/runtime/random.hpp"

namespace passnorm::kernels {

inline void check(const Dropout& a) {
  PASSNORM_CHECK(a.probability >= 0 && a.probability < 1, "probability ", a.probability);
  PASSNORM_CHECK(a.parts > 0 && a.x.size % a.parts == 0 && a.y.size == a.x.size, "x has ", a.x.size,
                 " elements in ", a.parts, " parts, y ", a.y.size);
  PASSNORM_CHECK(a.x.size / a.parts <= int64_t{1} << 34, a.x.size, " elements of one mask");
}

/// What elements are multiplied by.
struct DropoutMask {
  explicit DropoutMask(const Dropout& a)
      : dropped_below(static_cast<uint32_t>(static_cast<double>(a.probability) * 0x1p32)),
        kept(static_cast<float>(1 / (1 - static_cast<double>(a.probability)))),
        seed(a.seed),
        step(a.step),
        layer(a.layer) {}

  /// Of elements [4 i, 4 i + 4).
  PASSNORM_HOST_DEVICE void factors(int64_t i, float* factor) const {
    const Random random(seed, Purpose::kDropout, step.get());
    const PhiloxWords words = random.words(uint64_t{layer} << 32 | static_cast<uint64_t>(i));
    for (int k = 0; k < 4; ++k) factor[k] = words.w[k] < dropped_below ? 0.0f : kept;
  }

  uint32_t dropped_below;
  float kept;
  uint64_t seed;
  DeviceValue<uint32_t> step;
  uint32_t layer;
};

}  // namespace passnorm::kernels
