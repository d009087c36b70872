#include "kernels/norm_sums.hpp"

#include <cmath>

#include "tests/reference/norm.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {
namespace {

using kernels::NormGeometry;
using reference::Sums;

constexpr float kEps = 1e-5f;
constexpr int64_t kTileRows = 64;

NormGeometry batch_of(int64_t rows, int64_t channels) {
  return NormGeometry::of(kernels::NormKind::kBatch, rows, 1, channels, 1);
}

/// Channels whose mean^2 / var is about 0, 3/4, 7, 200, 30000 and infinite, in turn.
Buffer channels_of_all_kinds(DType dtype, int64_t rows, int64_t channels) {
  constexpr std::array kOffsets{0.0, 0.5, -1.5, 8.0, -100.0, 3.0};
  std::vector<double> values = uniform(rows * channels, 1);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t kind = i % static_cast<size_t>(channels) % kOffsets.size();
    if (kind + 1 == kOffsets.size()) values[i] = 0;
    values[i] += kOffsets[kind];
  }
  return Buffer(dtype, values);
}

/// [2, C] as a convolution takes them: f32, tile by tile.
Buffer sums_of(const Buffer& x, int64_t channels) {
  std::vector<float> sums(static_cast<size_t>(2 * channels)), tile;
  const int64_t rows = x.size() / channels;
  for (int64_t first = 0; first < rows; first += kTileRows) {
    tile.assign(sums.size(), 0);
    for (int64_t r = first; r < std::min(rows, first + kTileRows); ++r)
      for (int64_t c = 0; c < channels; ++c) {
        const auto v = static_cast<float>(x[r * channels + c]);
        tile[static_cast<size_t>(c)] += v;
        tile[static_cast<size_t>(channels + c)] += v * v;
      }
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += tile[i];
  }
  return Buffer(DType::kF32, std::vector<double>(sums.begin(), sums.end()));
}

struct Statistics {
  Buffer mean, rstd, var;
};
Statistics from_sums(const Buffer& x, const Buffer& sums, int64_t channels, bool with_var = true) {
  auto out = on_every_stream([&](TestStream& s) {
    Buffer mean(DType::kF32, channels), rstd(DType::kF32, channels), var;
    if (with_var) var = Buffer(DType::kF32, channels);
    kernels::norm_statistics(s, {.geometry = batch_of(x.size() / channels, channels),
                                 .x = x.read(),
                                 .mean = mean.write_as<float>(),
                                 .rstd = rstd.write_as<float>(),
                                 .var = var.write_as<float>(),
                                 .eps = kEps,
                                 .sums = sums.read_as<float>()});
    return list(std::move(mean), std::move(rstd), std::move(var));
  });
  return {std::move(out[0]), std::move(out[1]), std::move(out[2])};
}

/// What the statistics of x are, with the magnitudes of the way they are taken: from sums, or,
/// where these would cancel, by two passes.
struct Expected {
  Sums mean, var, rstd;
  Bound bound;
  std::vector<double> condition;  ///< mean^2 / var

  Expected(const Buffer& x, int64_t channels) : mean(channels), var(channels), rstd(channels) {
    const int64_t rows = x.size() / channels;
    const reference::Statistics r = reference::norm_statistics(
        {.kind = reference::Kind::kBatch, .n = rows, .c = channels}, x.values());
    // Products and the formula's roundings come to the additions.
    bound = {.terms = static_cast<double>(rows) + 8, .roundings = 2};
    const double unit = gamma(bound.terms, unit_roundoff(DType::kF32));
    for (int64_t c = 0; c < channels; ++c) {
      const auto k = static_cast<size_t>(c);
      const double m = r.mean[k], v = r.var[k], second = v + m * m;
      condition.push_back(m * m / v);
      double of_mean = 0, of_var = 0;
      if (condition[k] < 2 * kernels::kMostCondition)
        of_mean = std::sqrt(second), of_var = 3 * second;
      if (condition[k] > kernels::kMostCondition / 2) {
        const double error = bound.tolerance(m, r.mean_magnitude[k], DType::kF32);
        of_mean = std::max(of_mean, r.mean_magnitude[k]);
        of_var = std::max(of_var, r.var_magnitude[k] + error * error / unit);
      }
      mean.add(c, m, of_mean);
      var.add(c, v, of_var);
      rstd.add(c, 1 / std::sqrt(v + kEps), (1 + of_var / (v + kEps)) / std::sqrt(v + kEps));
    }
  }
};

struct Size {
  int64_t rows, channels;
};
constexpr std::array kSizes{Size{1, 6}, Size{7, 13}, Size{64, 32}, Size{257, 33}, Size{2100, 12}};

TEST(StatisticsFromSums, AreThoseOfTheRows) {
  for (const DType dtype : kStorage)
    for (const auto& [rows, channels] : kSizes) {
      SCOPED_TRACE(testing::Message() << name_of(dtype) << " [" << rows << "," << channels << "]");
      const Buffer x = channels_of_all_kinds(dtype, rows, channels), sums = sums_of(x, channels);
      const Expected e(x, channels);
      const Statistics s = from_sums(x, sums, channels);
      EXPECT_TRUE(close(s.mean, e.mean, e.bound));
      EXPECT_TRUE(close(s.var, e.var, e.bound));
      EXPECT_TRUE(close(s.rstd, e.rstd, e.bound));
      for (int64_t c = 5; c < channels; c += 6) EXPECT_EQ(s.var[c], 0) << "constant channel " << c;
      const Statistics without = from_sums(x, sums, channels, false);
      EXPECT_TRUE(same_bits(without.mean, s.mean));
      EXPECT_TRUE(same_bits(without.rstd, s.rstd));
    }
}

/// The bound above is one that a difference of the sums breaks where they cancel.
TEST(StatisticsFromSums, AreNotTheDifferenceOfSumsThatCancel) {
  constexpr int64_t kRows = 2100, kChannels = 12;
  const Buffer x = channels_of_all_kinds(DType::kF32, kRows, kChannels),
               sums = sums_of(x, kChannels);
  const Expected e(x, kChannels);
  const auto mean = static_cast<float>(sums[4]) / kRows;
  const float difference = static_cast<float>(sums[kChannels + 4]) / kRows - mean * mean;
  EXPECT_GT(e.condition[4], 1000);
  EXPECT_GT(std::abs(double{difference} - e.var.value[4]),
            e.bound.tolerance(e.var.value[4], e.var.magnitude[4], DType::kF32));
}

/// Where nothing cancels x is not read.
TEST(StatisticsFromSums, AreTakenFromThem) {
  for (const DType dtype : kStorage) {
    const Buffer x(dtype, std::vector<double>(300 * 5, std::nan("")));
    std::vector<double> sums;
    for (int c = 0; c < 5; ++c) sums.push_back(300 * 0.25 * c);
    for (int c = 0; c < 5; ++c) sums.push_back(300 * (0.0625 * c * c + 1.5));
    const Statistics s = from_sums(x, Buffer(DType::kF32, sums), 5);
    const double u = unit_roundoff(DType::kF32);
    for (int c = 0; c < 5; ++c) {
      EXPECT_NEAR(s.mean[c], 0.25 * c, 3 * u * 0.25 * c);
      EXPECT_NEAR(s.var[c], 1.5, 12 * u * (1.5 + 0.0625 * c * c));
      EXPECT_NEAR(s.rstd[c], 1 / std::sqrt(1.5 + kEps), 12 * u);
    }
  }
}

TEST(StatisticsFromSums, KeepNotANumber) {
  std::vector<double> values = channels_of_all_kinds(DType::kF16, 100, 7).values();
  values[7 * 50 + 2] = std::nan("");
  values[7 * 60 + 3] = INFINITY;
  const Buffer x(DType::kF16, values);
  const Statistics s = from_sums(x, sums_of(x, 7), 7);
  for (int c = 0; c < 7; ++c) {
    EXPECT_EQ(std::isnan(s.rstd[c]), c == 2 || c == 3) << c;
    EXPECT_EQ(std::isfinite(s.mean[c]), c != 2 && c != 3) << c;
  }
}

TEST(StatisticsFromSums, NeedOneBlockOfChannels) {
  const Buffer x(DType::kF32, uniform(4 * 6, 1));
  const auto refused = [&](const NormGeometry& g, int64_t count) {
    const Buffer sums(DType::kF32, uniform(count, 2));
    Buffer mean(DType::kF32, g.statistics()), rstd(DType::kF32, g.statistics());
    EXPECT_THROW(kernels::norm_statistics(stream(), {.geometry = g,
                                                     .x = x.read(),
                                                     .mean = mean.write_as<float>(),
                                                     .rstd = rstd.write_as<float>(),
                                                     .sums = sums.read_as<float>()}),
                 Error);
  };
  refused(batch_of(4, 6), 6);
  refused(NormGeometry::of(kernels::NormKind::kBatch, 4, 1, 6, 2), 12);
  refused(NormGeometry::of(kernels::NormKind::kGroup, 1, 4, 6, 1, 3), 12);
}

}  // namespace
}  // namespace passnorm::test
