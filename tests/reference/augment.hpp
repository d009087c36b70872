// What an augmented image is, for a known offset and flip.
#pragma once

#include <vector>

#include "tests/reference/sums.hpp"

namespace reference {

/// image [C, H, W] bytes, mirrored when flip, padded with zeros by `pad`, the H x W window at (top,
/// left) of the padded image, channels last, divided by 255, minus mean, divided by stddev.
inline Sums augment(int64_t c, int64_t h, int64_t w, const uint8_t* image, int64_t pad, int64_t top,
                    int64_t left, bool flip, const Values& mean, const Values& stddev) {
  Sums y(h * w * c);
  for (int64_t p = 0; p < h; ++p)
    for (int64_t q = 0; q < w; ++q)
      for (int64_t k = 0; k < c; ++k) {
        const int64_t row = p + top - pad;
        int64_t column = q + left - pad;
        const bool inside = row >= 0 && row < h && column >= 0 && column < w;
        if (flip) column = w - 1 - column;
        const double byte = inside ? image[(k * h + row) * w + column] : 0;
        const auto i = (p * w + q) * c + k;
        y.add(i, byte / 255 / stddev[static_cast<size_t>(k)]);
        y.add(i, -mean[static_cast<size_t>(k)] / stddev[static_cast<size_t>(k)]);
      }
  return y;
}

}  // namespace reference
