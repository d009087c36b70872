// What the augmentation of points on both devices shares: the checks of its arguments, and the
// arithmetic, so that a batch is the same on every device, to the bit: products and sums are fused
// where they are written so, and nowhere else.
#pragma once

#include <cmath>

#include "kernels/augment_points.hpp"
#include "kernels/runtime/random.hpp"

namespace passnorm::kernels {

/// All but the indices, which may be in a device's memory.
inline void check(const AugmentPoints& a) {
  PASSNORM_CHECK(a.points > 0 && a.points <= int64_t{1} << 20, "clouds of ", a.points, " points");
  const int64_t cloud = 3 * a.points, count = static_cast<int64_t>(a.clouds.size()) / cloud;
  PASSNORM_CHECK(count > 0 && static_cast<int64_t>(a.clouds.size()) == count * cloud,
                 a.clouds.size(), " numbers are no clouds of ", a.points, " points");
  PASSNORM_CHECK(static_cast<int64_t>(a.index.size()) == a.n, a.index.size(), " indices for ", a.n,
                 " clouds");
  PASSNORM_CHECK(a.y.size == a.n * cloud, "y has ", a.y.size, " elements, not ", a.n * cloud);
  PASSNORM_CHECK(static_cast<int64_t>(a.labels.size()) == (a.labels.empty() ? 0 : count) &&
                     static_cast<int64_t>(a.picked_labels.size()) == (a.labels.empty() ? 0 : a.n),
                 a.labels.size(), " labels of ", count, " clouds, ", a.picked_labels.size(), " of ",
                 a.n, " picked");
}

/// How clouds are changed, and what each draws.
struct PointChange {
  explicit PointChange(const AugmentPoints& a)
      : max_dropout(a.max_dropout),
        scale_low(a.scale_low),
        scale_high(a.scale_high),
        shift(a.shift),
        seed(a.seed),
        epoch(a.epoch) {}

  struct Draw {
    float dropout;  ///< a point whose uniform number is at most this is dropped; -1: none
    float scale, shift[3];
  };
  PASSNORM_HOST_DEVICE Draw draw(int64_t cloud) const {
    const PhiloxWords a = words(cloud, 0), b = words(cloud, 1);
    Draw drawn{max_dropout > 0 ? uniform01(a.w[0]) * max_dropout : -1.0f,
               fmaf(scale_high - scale_low, uniform01(a.w[1]), scale_low),
               {}};
    for (int axis = 0; axis < 3; ++axis)
      drawn.shift[axis] = fmaf(2 * shift, uniform01(b.w[axis]), -shift);
    return drawn;
  }
  /// The random words of points [4 i, 4 i + 4) of a cloud.
  PASSNORM_HOST_DEVICE PhiloxWords words_of_points(int64_t cloud, int64_t i) const {
    return words(cloud, 2 + i);
  }
  PASSNORM_HOST_DEVICE static bool dropped(uint32_t word, const Draw& drawn) {
    return uniform01(word) <= drawn.dropout;
  }

  float max_dropout, scale_low, scale_high, shift;
  uint64_t seed;
  DeviceValue<uint32_t> epoch;

 private:
  PASSNORM_HOST_DEVICE PhiloxWords words(int64_t cloud, int64_t i) const {
    const Random random(seed, Purpose::kAugment, epoch.get());
    return random.words((static_cast<uint64_t>(cloud) << 20) + static_cast<uint64_t>(i));
  }
};

}  // namespace passnorm::kernels
