// Which images make which batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace passnorm::train {

struct LoaderOptions {
  int64_t batch = 64;
  uint64_t seed = 1;
  bool shuffle = true;    ///< false: the order of the data set in every epoch
  bool drop_last = true;  ///< leave out a last batch that is not full
};

/// The order of images. Batch (epoch, step) depends on the options, n, epoch and step only: a run
/// resumes anywhere, and every device sees the same order.
class Loader {
 public:
  /// n: images, below 2^32.
  Loader(int64_t n, const LoaderOptions& options);

  /// Batches of an epoch; 0 when drop_last leaves none.
  int64_t steps() const;

  /// Images of a batch; valid until the next call. The epoch's order is a Fisher-Yates shuffle: for
  /// i = n-1 down to 1 swap element i with element Random(seed, kShuffle, epoch).below(i, i + 1).
  std::span<const int64_t> indices(int64_t epoch, int64_t step);

 private:
  void order_epoch(int64_t epoch);

  LoaderOptions options_;
  std::vector<int64_t> order_;
  int64_t epoch_ = -1;  ///< of order_
};

}  // namespace passnorm::train
