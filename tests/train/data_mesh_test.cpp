// OFF files, and clouds drawn from their surfaces.
#include "train/data/mesh.hpp"

#include <cmath>

#include "tests/support/files.hpp"
#include "tests/train/cloud_files.hpp"

namespace passnorm::train {
namespace {

using test::refusal;

constexpr double kDeviations = 5;  // standard deviations that a statistic may be off

TEST(Off, ReadsItsForms) {
  const Mesh mesh = parse_off("f.off", kTetrahedron);
  EXPECT_EQ(mesh.vertices.size(), 4u);
  EXPECT_EQ(mesh.triangles.size(), 4u);
  EXPECT_EQ(mesh.triangles[3], (std::array<uint32_t, 3>{1, 2, 3}));
  // The broken header of some files of ModelNet, comments, Windows' line ends, a colour, a polygon.
  const Mesh other = parse_off(
      "f.off",
      "OFF5 2 0\r\n# made by hand\r\n\r\n0 0 0 # first\r\n1 0 0\r\n1 1 0\r\n0 1 0\r\n-.5 5e-1 0\r\n"
      "5 0 1 2 3 4 255 0 0\r\n2 0 1");
  EXPECT_EQ(other.vertices[4], (std::array<double, 3>{-0.5, 0.5, 0}));
  EXPECT_EQ(other.triangles,
            (std::vector<std::array<uint32_t, 3>>{{0, 1, 2}, {0, 2, 3}, {0, 3, 4}}));
}

TEST(Off, RefusesOthersWithTheLine) {
  const struct {
    const char* text;
    const char* reason;
  } cases[] = {
      {"", "f.off:0: the file ends where OFF was expected"},
      {"\n\n# only a comment\n", "f.off:3: the file ends"},
      {"ply\n", "f.off:1: not an OFF file"},
      {"OFF\n", "f.off:1: the file ends where the numbers of vertices, faces and edges"},
      {"OFF\n4 4\n", "f.off:2: found the end of the line, expected the number of edges"},
      {"OFF\n4 4 6 1\n", "f.off:2: found \"1\" behind the numbers"},
      {"OFF\n-4 4 6\n", "f.off:2: found \"-4\", expected the number of vertices"},
      {"OFF\n4 4.5 6\n", "expected the number of faces"},
      {"OFF\n4294967296 1 0\n", "expected the number of vertices"},
      {"OFF\n0 0 0\n", "a mesh of 0 vertices and 0 faces is empty"},
      {"OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "a mesh of 3 vertices and 0 faces is empty"},
      {"OFF\n4294967295 4294967295 0\n0 0 0\n", "cannot stand in the 6 bytes that follow"},
      {"OFF\n3 1 0\n0 0 0\n1 0 0\n3 0 1 2\n# and nothing else\n", "f.off:5: found \"2\" behind"},
      {"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0   \n# and nothing else\n",
       "f.off:6: the file ends where a face was expected"},
      {"OFF\n3 1 0\n0 0 0\n1 x 0\n0 1 0\n3 0 1 2\n", "f.off:4: found \"x\", expected a coordinate"},
      {"OFF\n3 1 0\n0 0 0\n1 nan 0\n0 1 0\n3 0 1 2\n", "f.off:4: the coordinate nan is not"},
      {"OFF\n3 1 0\n0 0 0\n1 1e10 0\n0 1 0\n3 0 1 2\n", "is not a number from -1e9 to 1e9"},
      {"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", "f.off:6: a face has vertex 3, the last is 2"},
      {"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 -1\n", "expected the index of a vertex"},
      {"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1\n", "found the end of the line"},
      {"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4294967295 0 1 2\n", "found the end of the line"},
  };
  for (const auto& c : cases)
    EXPECT_CONTAINS(refusal(Fault::kInput, [&] { parse_off("f.off", c.text); }), c.reason);
  // Every triangle is a line or a point.
  const Mesh flat = parse_off("f.off", "OFF\n3 2 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n3 0 0 1\n");
  EXPECT_CONTAINS(
      refusal(Fault::kInput, [&] { sample_surface("f.off", flat, 8, Random(1, Purpose::kTest)); }),
      "f.off: its 2 triangles have no area");
}

TEST(Mesh, PointsAreUniformByArea) {
  // A thin strip of two triangles in 0 <= x <= 9, one of area 1 and one of 9 - 1, and one without.
  const Mesh mesh{.vertices = {{0, 0, 0}, {2, 0, 0}, {0, 1, 0}, {18, 0, 5}, {2, 0, 5}, {2, 1, 5}},
                  .triangles = {{0, 0, 0}, {0, 1, 2}, {1, 1, 2}, {4, 3, 5}, {3, 3, 3}}};
  constexpr int64_t kPoints = 20'000;
  const std::vector<float> cloud = sample_surface("f", mesh, kPoints, Random(3, Purpose::kTest));
  ASSERT_EQ(cloud.size(), 3u * kPoints);
  EXPECT_EQ(cloud, sample_surface("f", mesh, kPoints, Random(3, Purpose::kTest)));
  EXPECT_NE(cloud, sample_surface("f", mesh, kPoints, Random(4, Purpose::kTest)));
  // Undo the scale: the two planes z = 0 and z = 5 tell it.
  const auto z = [&](int64_t i) { return cloud[static_cast<size_t>(3 * i + 2)]; };
  float low = z(0), high = z(0);
  for (int64_t i = 0; i < kPoints; ++i) low = std::min(low, z(i)), high = std::max(high, z(i));
  const float scale = 5 / (high - low);
  int64_t small = 0;
  double mean_x = 0, mean_y = 0;  // of the small triangle, whose corner (0, 0, 0) is the reference
  float least_x = INFINITY, least_y = INFINITY;
  for (int64_t i = 0; i < kPoints; ++i) {
    if (z(i) > (low + high) / 2) continue;
    ++small;
    const float x = cloud[static_cast<size_t>(3 * i)] * scale,
                y = cloud[static_cast<size_t>(3 * i + 1)] * scale;
    mean_x += static_cast<double>(x), mean_y += static_cast<double>(y);
    least_x = std::min(least_x, x), least_y = std::min(least_y, y);
  }
  constexpr double kShare = 1.0 / 9;
  const auto n = static_cast<double>(small);
  EXPECT_NEAR(n / kPoints, kShare, kDeviations * std::sqrt(kShare * (1 - kShare) / kPoints));
  // Along a side of length L from the right angle a triangle's points have mean L / 3 and variance
  // L^2 / 18; the least of n of them has mean and standard deviation L / 2n.
  const auto expect_triangle = [&](double mean, float least, double side) {
    EXPECT_NEAR(mean - static_cast<double>(least), side / 3 - side / (2 * n),
                kDeviations * side * std::sqrt(1 / (18 * n) + 1 / (4 * n * n)));
  };
  expect_triangle(mean_x / n, least_x, 2);
  expect_triangle(mean_y / n, least_y, 1);
}

TEST(Mesh, ACloudIsMovedAndScaledIntoTheUnitSphere) {
  std::vector<float> cloud = {1, 2, 3, 5, 2, 3, 3, 2, 3};
  to_unit_sphere(cloud);
  EXPECT_EQ(cloud, (std::vector<float>{-1, 0, 0, 1, 0, 0, 0, 0, 0}));
  std::vector<float> one = {4, 4, 4, 4, 4, 4};
  to_unit_sphere(one);
  EXPECT_EQ(one, std::vector<float>(6, 0));
}

}  // namespace
}  // namespace passnorm::train
