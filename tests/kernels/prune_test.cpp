#include "kernels/prune.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

using kernels::magnitude_percentile;

/// Tensors of a model: sizes around vectors and blocks, one that is empty, values that repeat.
std::vector<Buffer> some_tensors() {
  std::vector<Buffer> all;
  for (uint32_t i = 0; const int64_t n : {1, 33, 4097, 0, 8192, 1000}) {
    std::vector<double> values = uniform(n, i);
    if (i % 2 == 0)
      for (double& v : values) v = std::round(v * 40) / 64;  // few values, zeros among them
    all.emplace_back(DType::kF32, values);
    ++i;
  }
  all.emplace_back(DType::kF32, std::vector<double>{1e30, -1e-40, 0.0, -0.0, -3e38, 1e-45});
  return all;
}
std::vector<std::span<const float>> spans(const std::vector<Buffer>& tensors) {
  std::vector<std::span<const float>> all;
  for (const Buffer& b : tensors) all.push_back(b.read_as<float>());
  return all;
}
std::vector<double> magnitudes(const std::vector<Buffer>& tensors) {
  std::vector<double> all;
  for (const Buffer& b : tensors)
    for (const double v : b.values()) all.push_back(std::abs(v));
  return all;
}

TEST(Prune, PercentileOfSeveralTensors) {
  const std::vector<Buffer> tensors = some_tensors();
  std::vector<double> sorted = magnitudes(tensors);
  std::ranges::sort(sorted);
  for (double percent : {0.0, 0.01, 10.0, 25.0, 33.3, 50.0, 90.0, 99.99, 100.0}) {
    const double rank = percent / 100 * static_cast<double>(sorted.size() - 1);
    const auto low = static_cast<size_t>(rank), high = static_cast<size_t>(std::ceil(rank));
    const double share = rank - std::floor(rank),
                 expected = (1 - share) * sorted[low] + share * sorted[high];
    in_every_way([&](TestStream& s, const std::string& name) {
      EXPECT_DOUBLE_EQ(magnitude_percentile(s, spans(tensors), percent), expected)
          << percent << "%, " << name;
    });
  }
}

TEST(Prune, Histogram) {
  const std::vector<Buffer> tensors = some_tensors();
  struct Digit {
    uint32_t prefix;
    int shift, width;
  };
  // The highest digit; then of magnitudes in [0.5, 0.5625); the lowest digit of 0.5.
  for (const Digit d : {Digit{0, 20, 11}, Digit{0x3f0, 10, 10}, Digit{0x3f000000 >> 10, 0, 10}}) {
    std::vector<int64_t> expected(size_t{1} << d.width);
    int64_t found = 0;
    for (const double v : magnitudes(tensors)) {
      const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(v));
      if (bits >> (d.shift + d.width) != d.prefix) continue;
      ++expected[(bits >> d.shift) % expected.size()];
      ++found;
    }
    ASSERT_GT(found, 100);
    in_every_way([&](TestStream& s, const std::string& name) {
      std::vector<int64_t> counts(expected.size(), -1);
      kernels::magnitude_histogram(s, {.tensors = spans(tensors),
                                       .prefix = d.prefix,
                                       .shift = d.shift,
                                       .width = d.width,
                                       .counts = counts});
      EXPECT_EQ(counts, expected) << name << ", bit " << d.shift;
    });
  }
}

/// Also thresholds beside and between numbers of f32: strictly larger ones stay.
TEST(Prune, SmallOnesBecomeZero) {
  const std::vector<double> all = magnitudes(some_tensors());
  const double half = 0.5, above = std::nextafter(half, 1), below = std::nextafter(half, 0);
  for (double threshold : {0.0, 1e-45, 2e-45, 0.1, below, half, above, 2e30, 3.4e38, 1e300}) {
    int64_t expected = 0;
    for (const double v : all) expected += v > threshold;
    const auto out = on_every_stream([&](TestStream& s) {
      std::vector<Buffer> tensors = some_tensors();
      std::vector<std::span<float>> places;
      for (Buffer& b : tensors) places.push_back(b.write_as<float>());
      EXPECT_EQ(kernels::prune(s, {.tensors = places, .threshold = threshold}), expected)
          << "threshold " << threshold;
      return tensors;
    });
    const std::vector<Buffer> before = some_tensors();
    for (size_t k = 0; k < out.size(); ++k) {
      std::vector<double> values = before[k].values();
      for (double& v : values) v = std::abs(v) > threshold ? v : 0;
      EXPECT_TRUE(same_bits(out[k], Buffer(DType::kF32, values)))
          << "tensor " << k << ", threshold " << threshold;
    }
  }
}

/// The percentiles and survivors of both references.
TEST(PruneWorkedValues, Percentiles) {
  const std::vector<double> w{.5, -.1, .3, .2, -.4, 0, .9, -.7, .8, .6};
  const std::vector<Buffer> tensor = list(Buffer(DType::kF32, w));
  struct Row {
    double percent;
    float threshold;
    int64_t kept;
  };
  for (const Row row : {Row{10, .09f, 9}, Row{25, .225f, 7}, Row{50, .45f, 5}, Row{90, .81f, 1},
                        Row{100, .9f, 0}}) {
    const double threshold = magnitude_percentile(stream(), spans(tensor), row.percent);
    EXPECT_FLOAT_EQ(static_cast<float>(threshold), row.threshold);
    Buffer pruned(DType::kF32, w);
    const std::span<float> place = pruned.write_as<float>();
    EXPECT_EQ(kernels::prune(stream(), {.tensors = {&place, 1}, .threshold = threshold}), row.kept);
  }
}

TEST(PruneWorkedValues, NanIsTheLargest) {
  Buffer w(DType::kF32, {1, std::nan(""), 2});
  const std::span<float> place = w.write_as<float>();
  const std::span<const float> read = place;
  EXPECT_EQ(magnitude_percentile(stream(), {&read, 1}, 0), 1);
  EXPECT_EQ(magnitude_percentile(stream(), {&read, 1}, 50), 2);
  EXPECT_TRUE(std::isnan(magnitude_percentile(stream(), {&read, 1}, 100)));
  EXPECT_EQ(kernels::prune(stream(), {.tensors = {&place, 1}, .threshold = 1}), 2);
  EXPECT_EQ(w[0], 0);
  EXPECT_TRUE(std::isnan(w[1]));
}

TEST(PruneErrors, ArgumentsThatDoNotFit) {
  Buffer w(DType::kF32, uniform(8, 1));
  const std::span<float> place = w.write_as<float>();
  const std::span<const float> read = place;
  std::vector<int64_t> counts(1024);
  for (const auto& [shift, width] :
       std::vector<std::array<int, 2>>{{0, 11}, {22, 10}, {-1, 10}, {0, 12}})
    EXPECT_THROW(
        kernels::magnitude_histogram(
            stream(), {.tensors = {&read, 1}, .shift = shift, .width = width, .counts = counts}),
        Error)
        << width << " bits at " << shift;
  EXPECT_THROW(magnitude_percentile(stream(), {}, 50), Error);
  EXPECT_THROW(magnitude_percentile(stream(), {&read, 1}, 101), Error);
  EXPECT_THROW(kernels::prune(stream(), {.tensors = {&place, 1}, .threshold = -1}), Error);
  EXPECT_THROW(kernels::prune(stream(), {.tensors = {&place, 1}, .threshold = std::nan("")}),
               Error);
}

}  // namespace
}  // namespace passnorm::test
