// What the augmentation of both devices shares: the checks of its arguments, and the arithmetic,
// so that a batch is the same on every device, to the bit.
#pragma once

#include "kernels/augment.hpp"
#include "kernels/runtime/random.hpp"

namespace passnorm::kernels {

/// All but the indices, which may be in a device's memory.
inline void check(const Augment& a) {
  PASSNORM_CHECK(a.c >= 1 && a.c <= 4, a.c, " channels, not 1 to 4");
  PASSNORM_CHECK(a.h > 0 && a.w > 0 && a.pad >= 0, "images of ", a.h, " x ", a.w, ", pad ", a.pad);
  const int64_t image = a.c * a.h * a.w, count = static_cast<int64_t>(a.images.size()) / image;
  PASSNORM_CHECK(static_cast<int64_t>(a.index.size()) == a.n, a.index.size(), " indices for ", a.n,
                 " images");
  PASSNORM_CHECK(a.y.size == a.n * image, "y has ", a.y.size, " elements, not ", a.n * image);
  PASSNORM_CHECK(static_cast<int64_t>(a.labels.size()) == (a.labels.empty() ? 0 : count) &&
                     static_cast<int64_t>(a.picked_labels.size()) == (a.labels.empty() ? 0 : a.n),
                 a.labels.size(), " labels of ", count, " images, ", a.picked_labels.size(), " of ",
                 a.n, " picked");
}

PASSNORM_HOST_DEVICE inline float normalised(int byte, float mean, float stddev) {
  return (static_cast<float>(byte) / 255.0f - mean) / stddev;
}

/// Where an image's window starts in the image, and whether the image is mirrored.
struct Window {
  int64_t top, left;
  bool mirrored;
};
PASSNORM_HOST_DEVICE inline Window draw_window(const Random& random, int64_t image, int64_t pad,
                                               bool flip) {
  const PhiloxWords words = random.words(static_cast<uint64_t>(image));
  const auto choices = static_cast<uint64_t>(2 * pad + 1);  // uniform in [-pad, pad]
  return {static_cast<int64_t>((words.w[0] * choices) >> 32) - pad,
          static_cast<int64_t>((words.w[1] * choices) >> 32) - pad,
          flip && (words.w[2] >> 31) != 0};
}

/// The stored row or column that is seen at `position` of the window, -1 in the padding.
PASSNORM_HOST_DEVICE inline int64_t source_position(int64_t position, int64_t start, int64_t size,
                                                    bool mirrored) {
  const int64_t at = position + start;
  if (at < 0 || at >= size) return -1;
  return mirrored ? size - 1 - at : at;
}

}  // namespace passnorm::kernels
