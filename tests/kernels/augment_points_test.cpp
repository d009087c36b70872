#include "kernels/augment_points.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "tests/support/device_value.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {
namespace {

constexpr int64_t kClouds = 9;

/// Clouds in [-1, 1] whose points all differ by at least 2 / 15 along some axis: points on a grid
/// of 16 x 16 x 16, each cloud's in its own order.
Buffer clouds(int64_t points) {
  std::vector<double> v;
  for (int64_t cloud = 0; cloud < kClouds; ++cloud)
    for (int64_t p = 0; p < points; ++p) {
      const int64_t cell = (p * (2 * cloud + 1) + 5 * cloud) % 4096;  // odd: all different
      for (const int64_t digit : {cell % 16, cell / 16 % 16, cell / 256})
        v.push_back(static_cast<double>(2 * digit - 15) / 15);
    }
  return Buffer(DType::kF32, v);
}

Buffer indices(const std::vector<int64_t>& index) {
  return Buffer(DType::kI64, std::vector<double>(index.begin(), index.end()));
}

kernels::AugmentPoints arguments(const Buffer& stored, const Buffer& index, int64_t points) {
  return {.n = index.size(),
          .points = points,
          .clouds = stored.read_as<float>(),
          .index = index.read_as<int64_t>(),
          .y = {}};
}
kernels::AugmentPoints augmented(const Buffer& stored, const Buffer& index, int64_t points) {
  kernels::AugmentPoints a = arguments(stored, index, points);
  a.max_dropout = 0.875f, a.scale_low = 0.8f, a.scale_high = 1.25f, a.shift = 0.1f;
  a.seed = 0x123456789abcdef0, a.epoch = 11u;
  return a;
}

/// What was done to a cloud x [points, 3], recovered from what it became, y.
struct Change {
  double scale = 0, shift[3] = {};
  std::vector<bool> dropped;  ///< of all points; the first is never

  double share() const {
    return static_cast<double>(std::count(dropped.begin(), dropped.end(), true)) /
           static_cast<double>(dropped.size() - 1);
  }
};
/// Points that equal the first in y were dropped (no two of x are equal); two others that are far
/// apart give the scale; all must then fit.
Change recover(const std::vector<double>& x, const std::vector<double>& y) {
  const size_t points = x.size() / 3;
  Change change;
  std::vector<bool>& dropped = change.dropped;
  dropped.resize(points);
  size_t far = 0;  // the element of a kept point that lies furthest from the first point's
  for (size_t p = 1; p < points; ++p) {
    dropped[p] = std::equal(&y[3 * p], &y[3 * p] + 3, y.data());
    if (dropped[p]) continue;
    for (size_t i = 3 * p; i < 3 * p + 3; ++i)
      if (std::abs(x[i] - x[i % 3]) > std::abs(x[far] - x[far % 3])) far = i;
  }
  if (far == 0) return change;
  change.scale = (y[far] - y[far % 3]) / (x[far] - x[far % 3]);
  for (size_t axis = 0; axis < 3; ++axis) change.shift[axis] = y[axis] - change.scale * x[axis];
  // Each value of y has one rounding, of a number below 2; the scale has two over the distance, and
  // meets another distance.
  const double u = 0x1p-24 * 2;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t from = dropped[i / 3] ? i % 3 : i;
    const double ratio = std::abs(x[from] - x[i % 3]) / std::abs(x[far] - x[far % 3]);
    const double expected = change.scale * x[from] + change.shift[i % 3];
    EXPECT_LE(std::abs(y[i] - expected), u * (2 + 2 * ratio)) << "element " << i;
  }
  return change;
}

std::vector<double> cloud_of(const std::vector<double>& all, int64_t i, int64_t points) {
  return {all.begin() + 3 * points * i, all.begin() + 3 * points * (i + 1)};
}

class AugmentPoints : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Storage, AugmentPoints, testing::ValuesIn(kStorage),
                         testing::PrintToStringParamName());

/// Without a change y is what is stored, rounded to its type.
TEST_P(AugmentPoints, OnlyPicks) {
  const std::vector<int64_t> index{5, 0, 8, 5};
  for (const int64_t points : {1, 3, 4, 33, 1024}) {
    const Buffer stored = clouds(points), picked = indices(index);
    const auto out = on_every_stream([&](TestStream& s) {
      Buffer y(GetParam(), picked.size() * 3 * points);
      kernels::AugmentPoints a = arguments(stored, picked, points);
      a.y = y.write();
      kernels::augment_points(s, a);
      return list(std::move(y));
    });
    std::vector<double> expected;
    for (const int64_t i : index)
      for (const double v : cloud_of(stored.values(), i, points)) expected.push_back(v);
    EXPECT_TRUE(equal(out[0], Buffer(GetParam(), expected).values())) << points;
  }
}

/// The f32 result is some change of the cloud within the ranges; those of other types are it,
/// rounded.
TEST_P(AugmentPoints, DropsScalesAndShifts) {
  const Buffer picked = indices({6, 0, 3, 3, 5, 8});
  for (const int64_t points : {1, 3, 33, 64, 1024}) {
    const Buffer stored = clouds(points);
    const auto run = [&](DType dtype) {
      return std::move(on_every_stream([&](TestStream& s) {
        Buffer y(dtype, picked.size() * 3 * points);
        kernels::AugmentPoints a = augmented(stored, picked, points);
        a.y = y.write();
        kernels::augment_points(s, a);
        return list(std::move(y));
      })[0]);
    };
    const Buffer y = run(DType::kF32);
    EXPECT_TRUE(equal(run(GetParam()), Buffer(GetParam(), y.values()).values())) << points;
    EXPECT_EQ(cloud_of(y.values(), 2, points), cloud_of(y.values(), 3, points));
    for (int64_t i = 0; i < picked.size(); ++i) {
      const auto x = cloud_of(stored.values(), static_cast<int64_t>(picked[i]), points);
      const Change change = recover(x, cloud_of(y.values(), i, points));
      if (points < 33) continue;  // few points, all dropped perhaps
      EXPECT_TRUE(change.scale > 0.8 - 1e-6 && change.scale < 1.25 + 1e-6) << change.scale;
      for (const double shift : change.shift) EXPECT_LT(std::abs(shift), 0.1 + 1e-6);
      EXPECT_LT(change.share(), 0.875 + 6 * std::sqrt(0.11 / static_cast<double>(points)));
    }
  }
}

TEST_P(AugmentPoints, SameOnEveryDevice) {
  CpuStream cpu(1);
  for (const int64_t points : {5, 64, 700}) {
    const Buffer stored = clouds(points), picked = indices({6, 0, 3, 3, 5});
    const auto run = [&](auto& s) {
      Buffer y(GetParam(), picked.size() * 3 * points);
      kernels::AugmentPoints a = augmented(stored, picked, points);
      a.y = y.write();
      kernels::augment_points(s, a);
      return list(std::move(y));
    };
    EXPECT_TRUE(same_bits(on_every_stream(run)[0], run(cpu)[0]));
  }
}

/// The draw belongs to (seed, epoch, stored cloud): not to the place in the batch, nor to the
/// batch.
TEST(AugmentPointsRandom, BelongsToTheCloud) {
  constexpr int64_t kPoints = 33;
  const Buffer stored = clouds(kPoints);
  const auto run = [&](const std::vector<int64_t>& index, uint64_t seed,
                       DeviceValue<uint32_t> epoch) {
    const Buffer picked = indices(index);
    Buffer y(DType::kF32, picked.size() * 3 * kPoints);
    kernels::AugmentPoints a = augmented(stored, picked, kPoints);
    a.seed = seed, a.epoch = epoch, a.y = y.write();
    kernels::augment_points(stream(), a);
    return y.values();
  };
  const std::vector<double> all = run({3, 0, 7, 8}, 7, 3u);
  EXPECT_EQ(cloud_of(all, 2, kPoints), run({7}, 7, 3u));
  EXPECT_NE(run({3, 0, 7, 8}, 8, 3u), all);
  EXPECT_NE(run({3, 0, 7, 8}, 7, 4u), all);
  InDeviceMemory<uint32_t> epoch(3);
  EXPECT_EQ(run({3, 0, 7, 8}, 7, epoch.at()), all);
}

/// Scale, shifts and the share of dropped points are uniform in their ranges and do not depend on
/// each other; nor does a point on those up to 8 before it. Chi-square over five bins: 4 degrees of
/// freedom, deviation sqrt(8), six of them; a correlation of n independent pairs has deviation 1 /
/// sqrt(n).
TEST(AugmentPointsRandom, IsUniform) {
  constexpr int64_t kPoints = 257;
  constexpr int kEpochs = 60, kBins = 5;
  const Buffer stored = clouds(kPoints), picked = indices({0, 1, 2, 3, 4, 5, 6, 7, 8});
  std::vector<std::vector<double>> draws(5);  // in [0, 1)
  std::array<double, 9> neighbours{};         // sums of products, by distance
  for (uint32_t epoch = 0; epoch < kEpochs; ++epoch) {
    Buffer y(DType::kF32, kClouds * 3 * kPoints);
    kernels::AugmentPoints a = augmented(stored, picked, kPoints);
    a.epoch = epoch, a.y = y.write();
    kernels::augment_points(stream(), a);
    for (int64_t i = 0; i < kClouds; ++i) {
      const Change c =
          recover(cloud_of(stored.values(), i, kPoints), cloud_of(y.values(), i, kPoints));
      draws[0].push_back((c.scale - 0.8) / 0.45);
      for (size_t axis = 0; axis < 3; ++axis)
        draws[1 + axis].push_back((c.shift[axis] + 0.1) / 0.2);
      draws[4].push_back(c.share() / 0.875);
      const double share = c.share();
      for (size_t distance = 1; distance < neighbours.size(); ++distance)
        for (size_t p = 1 + distance; p < c.dropped.size(); ++p)
          neighbours[distance] += (c.dropped[p] - share) * (c.dropped[p - distance] - share);
    }
  }
  const double n = kEpochs * kClouds;
  for (size_t distance = 1; distance < neighbours.size(); ++distance)  // a variance is at most 1/4
    EXPECT_LT(std::abs(neighbours[distance]), 6 * std::sqrt(n * kPoints) / 4) << distance;
  for (size_t a = 0; a < draws.size(); ++a) {
    std::array<double, kBins> count{};
    for (const double u : draws[a])
      ++count[static_cast<size_t>(std::clamp(static_cast<int>(u * kBins), 0, kBins - 1))];
    double chi_square = 0;
    for (const double c : count) chi_square += (c - n / kBins) * (c - n / kBins) / (n / kBins);
    EXPECT_LT(chi_square, 4 + 6 * std::sqrt(8.0)) << "draw " << a;
    for (size_t b = 0; b < a; ++b) {
      double correlation = 0;
      for (size_t i = 0; i < draws[a].size(); ++i)
        correlation += 12 * (draws[a][i] - 0.5) * (draws[b][i] - 0.5) / n;
      EXPECT_LT(std::abs(correlation), 6 / std::sqrt(n)) << "draws " << a << " and " << b;
    }
  }
}

TEST(AugmentPointsLabels, ArePicked) {
  const Buffer stored = clouds(4), picked = indices({5, 0, 8, 5}),
               labels(DType::kI32, whole(kClouds, 3, 1000));
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer y(DType::kF32, 4 * 12), chosen(DType::kI32, 4);
    kernels::AugmentPoints a = arguments(stored, picked, 4);
    a.y = y.write();
    a.labels = labels.read_as<int32_t>();
    a.picked_labels = chosen.write_as<int32_t>();
    kernels::augment_points(s, a);
    return list(std::move(chosen));
  });
  EXPECT_EQ(out[0].values(), (std::vector<double>{labels[5], labels[0], labels[8], labels[5]}));
}

TEST(AugmentPointsErrors, SizesThatDisagree) {
  const Buffer stored = clouds(4), picked = indices({1, 2}), few(DType::kI32, whole(8, 3, 9));
  Buffer y(DType::kF32, 2 * 12), two(DType::kI32, 2);
  kernels::AugmentPoints a = arguments(stored, picked, 4);
  a.y = y.write();
  EXPECT_NO_THROW(kernels::augment_points(stream(), a));
  a.points = 5;
  EXPECT_THROW(kernels::augment_points(stream(), a), Error);
  a.points = 4, a.n = 3;
  EXPECT_THROW(kernels::augment_points(stream(), a), Error);
  a.n = 2, a.labels = few.read_as<int32_t>(), a.picked_labels = two.write_as<int32_t>();
  EXPECT_THROW(kernels::augment_points(stream(), a), Error);
}

/// A GPU's host cannot see the indices: such a cloud is NaN, its label -1, and no other suffers.
TEST(AugmentPointsErrors, IndexOutOfRange) {
  constexpr int64_t kPoints = 8;
  const Buffer stored = clouds(kPoints), labels(DType::kI32, whole(kClouds, 3, 1000));
  for (int64_t bad : {int64_t{-1}, kClouds, int64_t{1} << 40, -(int64_t{1} << 40)}) {
    const Buffer picked = indices({bad, 7});
    Buffer y(DType::kF32, 2 * 3 * kPoints), chosen(DType::kI32, 2);
    kernels::AugmentPoints a = augmented(stored, picked, kPoints);
    a.y = y.write();
    a.labels = labels.read_as<int32_t>(), a.picked_labels = chosen.write_as<int32_t>();
    if (stream().device().kind == Device::Kind::kCpu) {
      EXPECT_THROW(kernels::augment_points(stream(), a), Error) << bad;
      continue;
    }
    kernels::augment_points(stream(), a);
    for (int64_t i = 0; i < y.size(); ++i) ASSERT_EQ(std::isnan(y[i]), i < 3 * kPoints) << bad;
    EXPECT_EQ(chosen.values(), (std::vector<double>{-1, labels[7]}));
  }
}

}  // namespace
}  // namespace passnorm::test
