#include "kernels/prune.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "kernels/runtime/parallel.hpp"

namespace passnorm::kernels {
namespace {

constexpr uint32_t kMagnitude = 0x7fffffffu;
constexpr int64_t kGrain = 65536;

int64_t ranges_of(int64_t n) { return std::clamp<int64_t>(n / kGrain, 1, 64); }

}  // namespace

void magnitude_histogram(CpuStream& stream, const MagnitudeHistogram& a) {
  check(a);
  const size_t buckets = a.counts.size();
  std::ranges::fill(a.counts, 0);
  for (const auto& x : a.tensors) {
    const auto n = static_cast<int64_t>(x.size());
    std::vector<int64_t> parts(static_cast<size_t>(ranges_of(n)) * buckets);
    parallel_ranges(stream, n, ranges_of(n), [&](int64_t range, int64_t begin, int64_t end) {
      int64_t* counts = parts.data() + static_cast<size_t>(range) * buckets;
      for (int64_t i = begin; i < end; ++i) {
        const uint32_t digits =
            (std::bit_cast<uint32_t>(x[static_cast<size_t>(i)]) & kMagnitude) >> a.shift;
        if (digits >> a.width == a.prefix) ++counts[digits & (buckets - 1)];
      }
    });
    for (size_t i = 0; i < parts.size(); ++i) a.counts[i % buckets] += parts[i];
  }
}

int64_t prune(CpuStream& stream, const Prune& a) {
  const uint32_t threshold = threshold_bits(a.threshold);
  int64_t kept = 0;
  for (const auto& w : a.tensors) {
    const auto n = static_cast<int64_t>(w.size());
    std::vector<int64_t> parts(static_cast<size_t>(ranges_of(n)));
    parallel_ranges(stream, n, ranges_of(n), [&](int64_t range, int64_t begin, int64_t end) {
      int64_t count = 0;
      for (float& v : w.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin))) {
        const bool stays = (std::bit_cast<uint32_t>(v) & kMagnitude) > threshold;
        v = stays ? v : 0.0f;
        count += stays;
      }
      parts[static_cast<size_t>(range)] = count;
    });
    kept = std::accumulate(parts.begin(), parts.end(), kept);
  }
  return kept;
}

}  // namespace passnorm::kernels
