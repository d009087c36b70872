#include "kernels/norm_sums.hpp"

#include <cmath>

#include "kernels/runtime/parallel.hpp"

namespace passnorm::kernels {
namespace {

struct Moments {
  double mean, var;
};

/// Of `rows` elements at distance `channels` of each other.
template <class T>
Moments measure(const T* x, int64_t rows, int64_t channels) {
  double mean = 0, deviation = 0;
  for (int64_t r = 0; r < rows; ++r) mean += static_cast<float>(x[r * channels]);
  mean /= static_cast<double>(rows);
  for (int64_t r = 0; r < rows; ++r) {
    const double d = static_cast<float>(x[r * channels]) - mean;
    deviation += d * d;
  }
  return {mean, deviation / static_cast<double>(rows)};
}

}  // namespace

void norm_statistics_from_sums(CpuStream& stream, const NormStatistics& a) {
  check_sums(a);
  const int64_t channels = a.geometry.channels, rows = a.geometry.rows;
  const double count = static_cast<double>(rows), eps = static_cast<double>(a.eps);
  visit_storage(a.x.dtype, [&](auto zero) {
    const auto* const x = a.x.as<decltype(zero)>();
    parallel_for(stream, channels, 16, [&](int64_t first, int64_t last) {
      for (int64_t c = first; c < last; ++c) {
        const auto at = static_cast<size_t>(c), second = static_cast<size_t>(channels + c);
        const double mean = a.sums[at] / count;
        Moments m{mean, a.sums[second] / count - mean * mean};
        if (mean * mean > kMostCondition * m.var) m = measure(x + c, rows, channels);
        a.mean[at] = static_cast<float>(m.mean);
        a.rstd[at] = static_cast<float>(1 / std::sqrt(m.var + eps));
        if (!a.var.empty()) a.var[at] = static_cast<float>(m.var);
      }
    });
  });
}

}  // namespace passnorm::kernels
