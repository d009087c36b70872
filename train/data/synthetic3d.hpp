// A made data set of point clouds for demos and tests: no download, learnt in a minute.
#pragma once

#include "train/data/dataset.hpp"

namespace passnorm::train {

struct Synthetic3dOptions {
  int64_t train = 2000;  ///< clouds of the training split
  int64_t test = 500;
  int64_t points = 256;  ///< of a cloud
  uint64_t seed = 1;

  /// n training clouds and a quarter as many test clouds, rounded up.
  static Synthetic3dOptions of_size(int64_t n) { return {.train = n, .test = (n + 3) / 4}; }
};

/// Clouds of eight classes: sphere, cube, cylinder, cone, torus, pyramid, capsule, helix. Cloud i
/// shows class i mod 8: points uniform on the surface (the helix's nearly so), of random
/// proportions, turned about the vertical axis z by a random angle, under noise of standard
/// deviation 0.02, in the unit sphere. Cloud i of a split depends on (seed, split, i, points) only:
/// the same bytes on machines with the same mathematical library.
Dataset synthetic3d(const Synthetic3dOptions& options, Split split, int64_t limit = 0);

}  // namespace passnorm::train
