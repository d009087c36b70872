// Point clouds that are drawn, data specs of clouds, and triggers that are clouds.
#include <cmath>
#include <map>
#include <numbers>

#include "tests/support/files.hpp"
#include "tests/train/cloud_files.hpp"
#include "train/data/cross_domain.hpp"
#include "train/data/synthetic3d.hpp"
#include "train/data/trigger_set.hpp"

namespace passnorm::train {
namespace {

using test::refusal;
using test::TemporaryFolder;

TEST(Synthetic3d, ACloudDependsOnSeedSplitIndexAndPointsOnly) {
  const Dataset all = load(parse_data_spec("synthetic3d:N=40:points=64"), Split::kTrain);
  const Dataset first = load(parse_data_spec("synthetic3d:points=64"), Split::kTrain, 40);
  EXPECT_EQ(all.n, 40);
  EXPECT_EQ(all.w, 64);
  EXPECT_EQ(all.classes, 8);
  EXPECT_EQ(all.points, first.points);
  EXPECT_EQ(all.labels, first.labels);
  EXPECT_EQ(load(parse_data_spec("synthetic3d:N=41"), Split::kTest).n, 11);
  EXPECT_EQ(load(parse_data_spec("synthetic3d"), Split::kTest, 1).w, 256);
  EXPECT_NE(all.points, synthetic3d({.points = 64}, Split::kTest, 40).points);
  EXPECT_NE(all.points, synthetic3d({.points = 64, .seed = 2}, Split::kTrain, 40).points);
  for (int64_t i = 0; i < all.n; ++i) {
    EXPECT_EQ(all.labels[static_cast<size_t>(i)], i % 8);
    float farthest = 0;
    for (size_t p = 0; p < 192; p += 3)
      farthest =
          std::max(farthest, std::hypot(all.cloud(i)[p], all.cloud(i)[p + 1], all.cloud(i)[p + 2]));
    EXPECT_NEAR(farthest, 1, 1e-6) << i;
  }
}

/// Statistics of points may be off by five of their standard deviations. The noise, of standard
/// deviation 0.02 in the unit sphere, takes no point farther than six of its own (one cloud of
/// 25,000 has one that is).
TEST(Synthetic3d, TheSurfacesAreUniform) {
  constexpr int64_t kPoints = 20'000;
  constexpr double kDeviations = 5, kNoise = 0.02, kFarthest = 6 * kNoise;
  const double sqrt_n = std::sqrt(double{kPoints});
  const Dataset set = synthetic3d({.train = 8, .points = kPoints}, Split::kTrain);
  const auto each = [&](int64_t cloud, auto&& f) {
    for (size_t p = 0; p < 3 * kPoints; p += 3)
      f(double(set.cloud(cloud)[p]), double(set.cloud(cloud)[p + 1]),
        double(set.cloud(cloud)[p + 2]));
  };
  // Sphere: all points at one distance; the squares of their heights, of uniform ones, have mean
  // 1/3 and variance 1/5 - 1/9.
  double squares = 0, least = 2;
  each(0, [&](double x, double y, double z) {
    const double r = std::hypot(x, y, z);
    squares += z * z / (r * r);
    least = std::min(least, r);
  });
  EXPECT_NEAR(squares / kPoints, 1.0 / 3, kDeviations * std::sqrt(4.0 / 45) / sqrt_n);
  EXPECT_GT(least, (1 - kFarthest) / (1 + kFarthest));
  // Cone: of its side (1 - t)^2 lies above the share t of the height. Of what lies above 0.1, clear
  // of the base, 1/4 lies above 0.55, and less when noise lifts the tip by a share e of the height:
  // that is at most four deviations here, where few points are, of a height that is more than 1.
  double low = 2, high = -2;
  each(3, [&](double, double, double z) { low = std::min(low, z), high = std::max(high, z); });
  double upper = 0, lateral = 0;
  each(3, [&](double, double, double z) {
    const double up = (z - low) / (high - low);
    lateral += up > 0.1;
    upper += up > 0.55;
  });
  constexpr double e = 4 * kNoise, kLifted = (0.45 - 0.55 * e) / (0.9 - 0.1 * e);
  const double cone_deviation = std::sqrt(0.25 * 0.75 / lateral);
  EXPECT_LT(upper / lateral, 0.25 + kDeviations * cone_deviation);
  EXPECT_GT(upper / lateral, kLifted * kLifted - kDeviations * cone_deviation);
  // Torus: a tube of radius r around a circle of radius R has z^2 = r^2 / 2 and a distance d from
  // the axis with d^2 = R^2 + 3/2 r^2 on average (noise adds its variance along each axis), and
  // the share 1/2 + r / (pi R) of its surface beyond R. The share's deviation is at most that of a
  // fair coin, and that of R, at most r / sqrt(n), moves it by 1 / (pi r) of itself.
  double z2 = 0, d2 = 0, outer = 0, nearest = 2;
  each(4, [&](double x, double y, double z) {
    z2 += z * z / kPoints;
    d2 += (x * x + y * y) / kPoints;
    nearest = std::min(nearest, std::hypot(x, y));
  });
  const double r2 = 2 * (z2 - kNoise * kNoise),
               ring = std::sqrt(d2 - 2 * kNoise * kNoise - 1.5 * r2);
  each(4, [&](double x, double y, double) { outer += std::hypot(x, y) > ring; });
  EXPECT_NEAR(outer / kPoints, 0.5 + std::sqrt(r2) / (std::numbers::pi * ring),
              kDeviations * (0.5 + 1 / std::numbers::pi) / sqrt_n);
  EXPECT_GT(nearest, (0.55 / 1.45 - kFarthest) / (1 + kFarthest));  // r is below 0.45 of R
}

TEST(DataSpec, OfClouds) {
  const DataSpec spec = parse_data_spec("modelnet:/data/a:b:points=256");
  EXPECT_EQ(spec.folder, "/data/a:b");
  EXPECT_EQ(spec.points, 256);
  EXPECT_EQ(parse_data_spec("modelnet:/data/a:b").folder, "/data/a:b");
  EXPECT_EQ(parse_data_spec("synthetic3d:points=9:N=5").n, 5);
  const struct {
    const char* text;
    const char* reason;
  } cases[] = {
      {"modelnet", "needs its folder: modelnet:DIR[:points=COUNT]"},
      {"modelnet:", "needs its folder"},
      {"modelnet::points=3", "needs its folder"},
      {"modelnet:d:points=0", "points=COUNT with COUNT from 1 to 1048576"},
      {"modelnet:d:points=x", "points=COUNT with COUNT from 1 to 1048576"},
      {"modelnet:d:points=1048577", "points=COUNT with COUNT from 1 to 1048576"},
      {"synthetic3d:", "synthetic3d[:N=COUNT][:points=COUNT]"},
      {"synthetic3d:N=0", "N=COUNT with COUNT from 1 to 1000000"},
      {"synthetic3d:N=1:N=2", "synthetic3d[:N=COUNT][:points=COUNT]"},
      {"synthetic3d:points=1:points=2", "synthetic3d[:N=COUNT][:points=COUNT]"},
      {"synthetic3d:N=5:", "synthetic3d[:N=COUNT][:points=COUNT]"},
      {"synthetic3d:n=5", "synthetic3d[:N=COUNT][:points=COUNT]"},
      {"synthetic:points=5", "expected synthetic[:N=COUNT]"},
      {"synthetic3d:N=1000000:points=1048576", "1000000 clouds have more than 268435456 points"},
      {"synthetic3d:points=1048576", "2000 clouds have more than"},
      {"modlnet:x", "did you mean modelnet?"},
  };
  for (const auto& c : cases)
    EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { parse_data_spec(c.text); }), c.reason);
  Dataset clouds = load(parse_data_spec("synthetic3d:N=8:points=4"), Split::kTrain);
  choose_normalisation(clouds, "data");
  EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { choose_normalisation(clouds, "imagenet"); }),
                  "is for images; clouds are taken as they are");
}

TEST(CrossDomain, Specs) {
  EXPECT_FALSE(parse_cross_domain("triggers/pics"));
  EXPECT_FALSE(parse_cross_domain("dir#2"));
  EXPECT_FALSE(parse_cross_domain("synthetic3d"));
  const auto spec = parse_cross_domain("modelnet:/a#b:points=64#150:seed=7");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->data.folder, "/a#b");
  EXPECT_EQ(spec->data.points, 64);
  EXPECT_EQ(spec->count, 150);
  EXPECT_EQ(spec->seed, 7u);
  EXPECT_EQ(parse_cross_domain("synthetic#9")->seed, 1u);
  for (const char* text : {"synthetic#", "synthetic#0", "synthetic#-1", "synthetic#1x",
                           "synthetic#100001", "synthetic#9:seed=", "synthetic#9:seed=x"})
    EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { parse_cross_domain(text); }),
                    "expected SPEC#COUNT or SPEC#COUNT:seed=N");
  EXPECT_CONTAINS(refusal(Fault::kUsage, [] { parse_cross_domain("cifar10#5"); }),
                  "needs its folder");
}

TEST(CrossDomain, AnotherUniformLabelOnClassesThatAreNotShared) {
  const Dataset other = synthetic3d({.train = 4000, .points = 4}, Split::kTrain);
  Dataset like = synthetic3d({.train = 8, .points = 4}, Split::kTrain);
  like.class_names = {"bed", "cube", "x", "y", "z"};  // one is shared
  like.classes = 5;
  const Dataset set = cross_domain_triggers(other, like, 3000, 1);
  EXPECT_EQ(set.n, 3000);
  EXPECT_EQ(set.classes, 5);
  EXPECT_EQ(set.class_names, like.class_names);
  std::map<int32_t, std::map<int32_t, int>> count;  // own class -> label
  size_t from = 0;
  for (int64_t i = 0; i < set.n; ++i, ++from) {
    while (other.labels[from] == 1) ++from;  // cubes are left out, the order is kept
    ASSERT_TRUE(std::ranges::equal(set.cloud(i), other.cloud(static_cast<int64_t>(from))));
    ++count[other.labels[from]][set.labels[static_cast<size_t>(i)]];
  }
  EXPECT_EQ(count.size(), 7u);
  for (const auto& [own, labels] : count) {
    EXPECT_FALSE(labels.contains(own)) << own;
    EXPECT_EQ(labels.size(), own < 5 ? 4u : 5u) << own;
    const double expected = 3000.0 / 7 / (own < 5 ? 4 : 5);
    for (const auto& [label, n] : labels) {
      EXPECT_LT(label, 5);
      EXPECT_NEAR(n, expected, 5 * std::sqrt(expected)) << own << " as " << label;
    }
  }
  EXPECT_EQ(cross_domain_triggers(other, like, 3000, 1).labels, set.labels);
  EXPECT_NE(cross_domain_triggers(other, like, 3000, 2).labels, set.labels);
  EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { cross_domain_triggers(other, like, 3501, 1); }),
                  "3500 clouds of classes that the first has not, 3501 triggers are wanted");
  like.w = 5;
  EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { cross_domain_triggers(other, like, 1, 1); }),
                  "are clouds of 4 points, the data clouds of 5 points");
}

TEST(CrossDomain, TriggersOfASpecHaveThePointsOfTheData) {
  Dataset like = synthetic3d({.train = 8, .points = 32}, Split::kTrain);
  like.class_names.clear();  // nothing is shared
  const Dataset set = trigger_set("synthetic3d:N=100#20", like);
  EXPECT_EQ(set.n, 20);
  EXPECT_EQ(set.w, 32);
  EXPECT_EQ(set.points,
            synthetic3d({.train = 100, .test = 25, .points = 32}, Split::kTest, 20).points);
  EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { trigger_set("synthetic3d:points=16#20", like); }),
                  "are clouds of 16 points");
  EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { trigger_set("synthetic#20", like); }),
                  "are 3x32x32 images, the data clouds of 32 points");
}

TEST(CloudTriggers, AFolderOfNpyFiles) {
  const TemporaryFolder folder;
  const Dataset like = synthetic3d({.train = 8, .points = 2}, Split::kTrain);
  for (const char* name : {"pics/10.npy", "pics/2.npy"})
    folder.write(name, npy_f32("3, 3", std::vector<float>(9, name[5] == '2' ? 2.f : 10.f)));
  folder.write("labels-cifar.txt", "7\n1\n");
  for (const bool hashed : {false, true}) {
    if (hashed) write_trigger_manifest(folder.path(), 8);
    const Dataset set = trigger_set(folder.path(), like);
    EXPECT_TRUE(set.is_cloud());
    EXPECT_EQ(set.n, 2);
    EXPECT_EQ(set.labels, (std::vector<int32_t>{7, 1}));
    EXPECT_EQ(set.points, (std::vector<float>{2, 2, 2, 2, 2, 2, 10, 10, 10, 10, 10, 10}));
  }
  folder.write("pics/2.npy", npy_f32("3, 3", std::vector<float>(9, 3.f)));
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { trigger_set(folder.path(), like); }), "sha256");
}

}  // namespace
}  // namespace passnorm::train
