#include "kernels/prune.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include "kernels/runtime/check.hpp"

namespace passnorm::kernels {
namespace {

/// The magnitude of rank k, from 0: digit by digit from the highest (radix select).
float magnitude_of_rank(Stream& stream, std::span<const std::span<const float>> tensors,
                        int64_t k) {
  constexpr std::array<int, 3> kWidths{11, 10, 10};  // of the 31 bits behind the sign
  uint32_t prefix = 0;
  int shift = 31;
  for (const int width : kWidths) {
    shift -= width;
    std::vector<int64_t> counts(size_t{1} << width);
    dispatch(stream, [&](auto& s) {
      magnitude_histogram(
          s,
          {.tensors = tensors, .prefix = prefix, .shift = shift, .width = width, .counts = counts});
    });
    uint32_t digit = 0;
    while (k >= counts[digit]) k -= counts[digit++];
    prefix = prefix << width | digit;
  }
  return std::bit_cast<float>(prefix);
}

}  // namespace

void check(const MagnitudeHistogram& a) {
  PASSNORM_CHECK(a.width > 0 && a.width <= MagnitudeHistogram::kMaxWidth && a.shift >= 0 &&
                     a.shift + a.width <= 31 && a.counts.size() == size_t{1} << a.width,
                 a.counts.size(), " counts of ", a.width, " bits at bit ", a.shift);
}

double magnitude_percentile(Stream& stream, std::span<const std::span<const float>> tensors,
                            double percent) {
  int64_t n = 0;
  for (const auto& x : tensors) n += static_cast<int64_t>(x.size());
  PASSNORM_CHECK(n > 0 && percent >= 0 && percent <= 100, "percentile ", percent, " of ", n,
                 " elements");
  const double rank = percent / 100 * static_cast<double>(n - 1), below = std::floor(rank);
  const auto k = static_cast<int64_t>(below);
  const double low = static_cast<double>(magnitude_of_rank(stream, tensors, k)), t = rank - below;
  if (t == 0) return low;
  const double high = static_cast<double>(magnitude_of_rank(stream, tensors, k + 1));
  return t < 0.5 ? low + (high - low) * t : high - (high - low) * (1 - t);
}

uint32_t threshold_bits(double threshold) {
  PASSNORM_CHECK(threshold >= 0, "a threshold of ", threshold);
  const auto nearest = static_cast<float>(threshold);
  return std::bit_cast<uint32_t>(nearest) - (static_cast<double>(nearest) > threshold ? 1 : 0);
}

}  // namespace passnorm::kernels
