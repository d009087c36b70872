// Global magnitude pruning: the smallest weights of a whole model become zero. Calls return to the
// host: they belong to attacks, not to training steps. A NaN counts as larger than infinity.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/runtime/stream.hpp"

namespace passnorm::kernels {

/// counts[d] = how many elements of all tensors have a magnitude |x| whose bits b are
/// b >> (shift + width) == prefix and (b >> shift) mod 2^width == d. Bits order magnitudes as their
/// values do, so a few of these select an element by its rank.
struct MagnitudeHistogram {
  std::span<const std::span<const float>> tensors;  ///< device memory
  uint32_t prefix = 0;
  int shift = 0;
  int width = 0;                ///< at most kMaxWidth
  std::span<int64_t> counts{};  ///< [2^width] in host memory

  static constexpr int kMaxWidth = 11;
};
void check(const MagnitudeHistogram& a);
void magnitude_histogram(CpuStream& stream, const MagnitudeHistogram& a);
void magnitude_histogram(CudaStream& stream, const MagnitudeHistogram& a);

/// The percentile (0 to 100) of the magnitudes of all tensors together, interpolated linearly
/// between neighbours as numpy.percentile does.
double magnitude_percentile(Stream& stream, std::span<const std::span<const float>> tensors,
                            double percent);

/// w = |w| > threshold ? w : 0. Returns how many elements stay. Both references take the percentile
/// of all parameters for the threshold; PAN then prunes some of the tensors only.
struct Prune {
  std::span<const std::span<float>> tensors;  ///< device memory
  double threshold = 0;                       ///< at least 0
};
int64_t prune(CpuStream& stream, const Prune& a);
int64_t prune(CudaStream& stream, const Prune& a);

/// The bits of the largest f32 that is not above a threshold: |w| > threshold where its bits are
/// larger than these.
uint32_t threshold_bits(double threshold);

}  // namespace passnorm::kernels
