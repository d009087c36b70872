// A made data set for demos and tests: no download, learnt in seconds, and not by colour alone.
#pragma once

#include "train/data/dataset.hpp"

namespace passnorm::train {

inline constexpr int64_t kMaxSyntheticImages = 1'000'000;

struct SyntheticOptions {
  int64_t train = 8000;  ///< images of the training split
  int64_t test = 2000;
  uint64_t seed = 1;

  /// n training images and a quarter as many test images, rounded up.
  static SyntheticOptions of_size(int64_t n) { return {.train = n, .test = (n + 3) / 4}; }
};

/// 32 x 32 colour images of ten classes: disc, ring, square, triangle, cross, horizontal, vertical
/// and diagonal stripes, checkerboard, dots. Image i shows class i mod 10, at random position and
/// size, in two random colours that the classes share, under noise. Image i of a split depends on
/// (seed, split, i) only, and on integer arithmetic only: the same bytes on every machine.
Dataset synthetic(const SyntheticOptions& options, Split split, int64_t limit = 0);

}  // namespace passnorm::train
