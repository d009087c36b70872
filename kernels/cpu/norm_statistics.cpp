#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm_statistics.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/norm_blocks.hpp"
#include "kernels/cpu/simd-inl.hpp"
#include "kernels/norm_sums.hpp"
#include "kernels/runtime/parallel.hpp"
#include "kernels/runtime/scratch.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

/// sum += sum of kRows rows of (x - shift), square += sum of their squares.
template <int kRows, class T>
HWY_INLINE void add_rows(const T* HWY_RESTRICT x, const float* HWY_RESTRICT shift, int64_t channels,
                         float* HWY_RESTRICT sum, float* HWY_RESTRICT square) {
  for_vectors(0, channels, [&](auto d, int64_t c) HWY_ATTR {
    const auto origin = load(d, shift + c);
    auto s = hn::Sub(load(d, x + c), origin);
    auto q = hn::Mul(s, s);
    for (int r = 1; r < kRows; ++r) {
      const auto v = hn::Sub(load(d, x + r * channels + c), origin);
      s = hn::Add(s, v);
      q = hn::MulAdd(v, v, q);
    }
    store(d, hn::Add(load(d, sum + c), s), sum + c);
    store(d, hn::Add(load(d, square + c), q), square + c);
  });
}

/// Mean and sum of squared deviations per channel of `rows` rows.
template <class T>
void reduce_chunk(const T* x, int64_t rows, int64_t channels, float* scratch, double* mean,
                  double* deviation) {
  float* shift = scratch;  // the first row: near the mean, so the squares do not cancel
  float* sum = shift + channels;
  float* square = sum + channels;
  for (int64_t c = 0; c < channels; ++c) shift[c] = static_cast<float>(x[c]);
  std::fill_n(mean, channels, 0.0);
  std::fill_n(deviation, channels, 0.0);
  for (int64_t first = 0; first < rows; first += kFlushRows) {
    const int64_t last = std::min(rows, first + kFlushRows);
    std::fill_n(sum, 2 * channels, 0.0f);
    int64_t r = first;
    for (; r + 4 <= last; r += 4) add_rows<4>(x + r * channels, shift, channels, sum, square);
    for (; r < last; ++r) add_rows<1>(x + r * channels, shift, channels, sum, square);
    for (int64_t c = 0; c < channels; ++c) {
      mean[c] += static_cast<double>(sum[c]);
      deviation[c] += static_cast<double>(square[c]);
    }
  }
  const double inverse = 1.0 / static_cast<double>(rows);
  for (int64_t c = 0; c < channels; ++c) {
    const double offset = mean[c] * inverse;
    deviation[c] = std::max(deviation[c] - mean[c] * offset, 0.0);  // in this order NaN stays
    mean[c] = static_cast<double>(shift[c]) + offset;
  }
}

template <class T>
void reduce_chunks(CpuStream& stream, const NormGeometry& g, const T* x, int64_t chunks,
                   double* partial) {
  const int64_t channels = g.channels;
  const auto reduce_units = [&](int64_t first, int64_t last) {
    const Scratch<float> scratch(stream, 3 * channels);
    for (int64_t unit = first; unit < last; ++unit) {
      const int64_t block = unit / chunks, chunk = unit % chunks;
      const int64_t begin = g.rows * chunk / chunks, end = g.rows * (chunk + 1) / chunks;
      double* mean = partial + unit * 2 * channels;
      reduce_chunk(x + (block * g.rows + begin) * channels, end - begin, channels, scratch.data(),
                   mean, mean + channels);
    }
  };
  parallel_for(stream, g.blocks * chunks, chunk_grain(g, chunks), reduce_units);
}

/// Adds chunk b (of rows_b rows) to chunk a (of rows_a): Chan, Golub and LeVeque 1979.
void merge(int64_t rows_a, double* HWY_RESTRICT mean_a, double* HWY_RESTRICT deviation_a,
           int64_t rows_b, const double* HWY_RESTRICT mean_b,
           const double* HWY_RESTRICT deviation_b, int64_t first, int64_t last) {
  const double n = static_cast<double>(rows_a + rows_b);
  const double share = static_cast<double>(rows_b) / n;
  const double weight = static_cast<double>(rows_a) * share;
  for (int64_t c = first; c < last; ++c) {
    const double delta = mean_b[c] - mean_a[c];
    mean_a[c] += delta * share;
    deviation_a[c] += deviation_b[c] + delta * delta * weight;
  }
}

/// Groups [first, last) of a block, from its chunks' means and deviations [chunks, 2, C].
void finish_groups(const NormStatistics& a, int64_t block, int64_t first, int64_t last,
                   int64_t chunks, double* partial) {
  const NormGeometry& g = a.geometry;
  const int64_t channels = g.channels, width = channels / g.groups;
  double* mean = partial;
  double* deviation = mean + channels;
  for (int64_t k = 1; k < chunks; ++k) {
    const int64_t begin = g.rows * k / chunks, end = g.rows * (k + 1) / chunks;
    const double* next = partial + k * 2 * channels;
    merge(begin, mean, deviation, end - begin, next, next + channels, first * width, last * width);
  }
  float* group_mean = a.mean.data() + block * g.groups;
  float* rstd = a.rstd.data() + block * g.groups;
  const double inverse = 1.0 / static_cast<double>(g.group_size());
  const double rows = static_cast<double>(g.rows);
  if (width == 1) {
    for (int64_t i = first; i < last; ++i) group_mean[i] = static_cast<float>(mean[i]);
    for (int64_t i = first; i < last; ++i) rstd[i] = static_cast<float>(deviation[i] * inverse);
  } else {
    for (int64_t i = first; i < last; ++i) {
      double m = 0, q = 0;
      for (int64_t c = i * width; c < (i + 1) * width; ++c) m += mean[c];
      m /= static_cast<double>(width);
      for (int64_t c = i * width; c < (i + 1) * width; ++c)
        q += deviation[c] + rows * (mean[c] - m) * (mean[c] - m);
      group_mean[i] = static_cast<float>(m);
      rstd[i] = static_cast<float>(q * inverse);
    }
  }
  // Until here rstd held the variance: roots and divisions in a loop of their own take whole
  // vectors.
  if (!a.var.empty()) std::copy(rstd + first, rstd + last, a.var.data() + block * g.groups + first);
  const double eps = static_cast<double>(a.eps);
  for (int64_t i = first; i < last; ++i)
    rstd[i] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(rstd[i]) + eps));
}

void statistics(CpuStream& stream, const NormStatistics& a) {
  const NormGeometry& g = a.geometry;
  const int64_t chunks = norm_chunks(g), chunk_size = 2 * g.channels;
  const Scratch<double> partial(stream, g.blocks * chunks * chunk_size);
  visit_storage(a.x.dtype, [&](auto zero) {
    reduce_chunks(stream, g, a.x.as<decltype(zero)>(), chunks, partial.data());
  });
  const int64_t grain = std::max<int64_t>(1, 8192 / (chunks * (g.channels / g.groups)));
  parallel_for(stream, g.statistics(), grain, [&](int64_t first, int64_t last) {
    for_groups(g, first, last, [&](int64_t block, int64_t begin, int64_t end) {
      finish_groups(a, block, begin, end, chunks, partial.data() + block * chunks * chunk_size);
    });
  });
}

}  // namespace
}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace passnorm::kernels {
namespace {
HWY_EXPORT(statistics);
}  // namespace

void norm_statistics(CpuStream& stream, const NormStatistics& a) {
  check(a);
  if (!a.sums.empty()) return norm_statistics_from_sums(stream, a);
  HWY_DYNAMIC_DISPATCH(statistics)(stream, a);
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
