// The speed of making batches.
#pragma once

#include "bench/timing.hpp"
#include "kernels/runtime/stream.hpp"

namespace passnorm::bench {

struct LoaderBench {
  int64_t batch = 64;
  Repetition repetition{.warmup = 10, .seconds = 2};
};

struct LoaderTimes {
  std::vector<double> seconds;  ///< per batch: order, pick, crop, flip, normalise
  double median = 0;
  double images_per_second = 0;
  double bytes = 0;      ///< of a batch: pixels read as bytes and written as f32
  double share = 0;      ///< bytes per second as a share of a copy of the same footprint
  double plain = 0;      ///< median seconds of a batch without augmentation
  double clouds = 0;     ///< median seconds of a batch of augmented clouds of 1024 points
  double tiny_step = 0;  ///< median seconds of a training step of `tiny`, scheme pan, same batch
  double share_of_step = 0;  ///< median / (median + tiny_step): what batches cost the fastest model
};

/// Batches of 32 x 32 colour images and of point clouds as the trainer takes them, from 10,000 and
/// 1000 in memory.
LoaderTimes time_loader(std::shared_ptr<Stream> stream, const LoaderBench& options);

}  // namespace passnorm::bench
