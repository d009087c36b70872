// Point clouds: .npy files, meshes, the folders of ModelNet, and those that are made.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <set>

#include "kernels/runtime/dtype.hpp"
#include "tests/support/files.hpp"
#include "train/data/cross_domain.hpp"
#include "train/data/mesh.hpp"
#include "train/data/modelnet.hpp"
#include "train/data/npy.hpp"
#include "train/data/synthetic3d.hpp"
#include "train/data/trigger_set.hpp"

namespace passnorm::train {
namespace {

using test::refusal;
using test::TemporaryFolder;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// An .npy file with this header, of format version 1.
std::string npy(const std::string& header, const std::string& data) {
  std::string file = "\x93NUMPY\x01";
  file += '\0';
  file += static_cast<char>(header.size());
  file += static_cast<char>(header.size() >> 8);
  return file + header + data;
}
std::string npy_f32(const std::string& shape, const std::vector<float>& values) {
  return npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }\n", raw(values));
}
std::vector<float> decode(const std::string& file, int64_t points = 0) {
  return decode_npy_cloud("f.npy", bytes_of(file), points);
}

TEST(Npy, TakesTheFirstPointsAndColumns) {
  const std::vector<float> xyz = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(decode(npy_f32("3, 3", xyz)), xyz);
  EXPECT_EQ(decode(npy_f32("3, 3", xyz), 2), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  // ModelNet40 as it is often packed: normals behind the coordinates.
  EXPECT_EQ(decode(npy_f32("2, 4", {0, 1, 2, 99, 3, 4, 5, 99})),
            (std::vector<float>{0, 1, 2, 3, 4, 5}));
  const std::string f64 =
      npy("{\"shape\":(1,3),\"fortran_order\":False,\"descr\":\"<f8\"}", raw<double>({0.1, -2, 3}));
  EXPECT_EQ(decode(f64), (std::vector<float>{0.1f, -2, 3}));
  const std::string v1 = npy_f32("1, 3", {7, 8, 9});
  std::string v2 = v1.substr(0, 6) + '\x02' + v1.substr(7, 3);
  v2 += std::string(2, '\0') + v1.substr(10);
  EXPECT_EQ(decode(v2), (std::vector<float>{7, 8, 9}));
}

TEST(Npy, WritesWhatNumpyWrites) {
  const std::vector<float> xyz = {0, 1, 2, 3, 4, 5};
  const std::vector<std::byte> file = encode_npy_cloud(xyz);
  EXPECT_EQ(file.size(), 128u + 24);  // the header is padded to 64 bytes
  EXPECT_EQ(text_of(file).substr(10, 60),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ");
  EXPECT_EQ(std::to_integer<char>(file[127]), '\n');
  EXPECT_EQ(decode_npy_cloud("f", file, 2), xyz);
}

TEST(Npy, RefusesOthers) {
  const std::string good = npy_f32("2, 3", {0, 1, 2, 3, 4, 5});
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string file = good;
    file.replace(file.find(from), from.size(), to);
    file[8] = static_cast<char>(file[8] + static_cast<char>(to.size() - from.size()));
    return file;
  };
  const struct {
    std::string file;
    const char* reason;
  } cases[] = {
      {"", "not an .npy file: 0 bytes"},
      {"PK\x03\x04 an .npz file", "not an .npy file"},
      {good.substr(0, 9), "not an .npy file: 9 bytes"},
      {good.substr(0, 20), "cut off in its header"},
      {good.substr(0, 6) + '\x04' + good.substr(7), ".npy version 4.0"},
      {good.substr(0, 8) + "\xff\xff" + good.substr(10), "a header of 65535 bytes"},
      {good.substr(0, good.size() - 1), "has 23 bytes behind its header, its shape needs 24"},
      {good + "x", "has 25 bytes behind its header"},
      {with("'<f4'", "'>f4'"), "numbers of type \">f4\", expected \"<f4\" or \"<f8\""},
      {with("'<f4'", "'<i4'"), "numbers of type \"<i4\""},
      {with("'<f4'", "'|O'"), "numbers of type \"|O\""},
      {with("False", "True"), "is in Fortran order"},
      {with("False", "None"), "its header is not numpy's"},
      {with("2, 3", "3, 2"), "shape (3, 2), expected (P, C) with 1 to 1048576 points"},
      {with("2, 3", "6"), "shape (6), expected (P, C)"},
      {with("2, 3", ""), "shape (), expected (P, C)"},
      {with("2, 3", "0, 3"), "shape (0, 3)"},
      {with("2, 3", "1, 2, 3"), "shape (1, 2, 3)"},
      {with("2, 3", "-2, 3"), "its header is not numpy's"},
      {with("2, 3", "9223372036854775807, 3"), "expected (P, C)"},
      {with("2, 3", "99999999999999999999, 3"), "its header is not numpy's"},
      {with("2, 3", "3, 9223372036854775807"), "expected (P, C)"},
      {with("'shape'", "'shapes'"), "its header is not numpy's"},
      {with("'shape'", "'descr'"), "its header is not numpy's"},
      {with("), }", "), "), "its header is not numpy's"},
      {with("), }\n", "), }x"), "its header is not numpy's"},
      {npy("{'descr': '<f4', 'shape': (2, 3)}", raw<float>({0, 1, 2, 3, 4, 5})),
       "its header is not numpy's"},
      {npy_f32("2, 3", {0, 1, 2, 3, kNan, 5}), "point 1: y is nan, expected a finite number"},
      {npy_f32("1, 3", {0, 1, -INFINITY}), "point 0: z is -inf"},
      {npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3)}", raw<double>({1e300, 0, 0})),
       "point 0: x is 1e+300"},
  };
  for (const auto& c : cases) {
    const std::string message = refusal(Fault::kInput, [&] { decode(c.file); });
    EXPECT_TRUE(message.starts_with("f.npy: ")) << message;
    EXPECT_CONTAINS(message, c.reason);
  }
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { decode(good, 3); }), "with 3 to 1048576 points");
}

constexpr const char* kTetrahedron =
    "OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n";

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
  EXPECT_NEAR(static_cast<double>(small) / kPoints, 1.0 / 9, 0.01);  // 4.5 standard deviations
  // The centroid of a triangle is a third of its sides from the corner.
  EXPECT_NEAR(mean_x / static_cast<double>(small) - static_cast<double>(least_x), 2.0 / 3, 0.06);
  EXPECT_NEAR(mean_y / static_cast<double>(small) - static_cast<double>(least_y), 1.0 / 3, 0.03);
}

TEST(Mesh, ACloudIsMovedAndScaledIntoTheUnitSphere) {
  std::vector<float> cloud = {1, 2, 3, 5, 2, 3, 3, 2, 3};
  to_unit_sphere(cloud);
  EXPECT_EQ(cloud, (std::vector<float>{-1, 0, 0, 1, 0, 0, 0, 0, 0}));
  std::vector<float> one = {4, 4, 4, 4, 4, 4};
  to_unit_sphere(one);
  EXPECT_EQ(one, std::vector<float>(6, 0));
}

/// f16 numbers, in bytes.
std::string f16(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float v : values) bits.push_back(float16(v).bits);
  return raw(bits);
}

/// Three clouds of two points, of two classes; every coordinate of cloud i is i.
void write_packed(const TemporaryFolder& folder, const std::string& name) {
  folder.write(name + "/shape_names.txt", "bed\nchair\r\n");
  folder.write(name + "/train_labels_u8.bin", std::string("\0\0\1", 3));
  folder.write(name + "/train_points_f16.bin",
               f16({0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2}));
}

TEST(ModelNet, PackedInTurnOfTheClasses) {
  const TemporaryFolder folder;
  write_packed(folder, "m");
  const Dataset set =
      load(parse_data_spec("modelnet:" + folder.path("m") + ":points=2"), Split::kTrain);
  EXPECT_TRUE(set.is_cloud());
  EXPECT_EQ(set.n, 3);
  EXPECT_EQ(set.w, 2);
  EXPECT_EQ(set.channels, 3);
  EXPECT_EQ(set.classes, 2);
  EXPECT_EQ(set.class_names, (std::vector<std::string>{"bed", "chair"}));
  EXPECT_EQ(set.labels, (std::vector<int32_t>{0, 1, 0}));  // cloud 2 before cloud 1
  EXPECT_EQ(set.cloud(1).front(), 2);
  EXPECT_EQ(set.cloud(2).back(), 1);
  EXPECT_EQ(set.form(), "clouds of 2 points");
  EXPECT_EQ(modelnet(folder.path("m"), Split::kTrain, 1, 2).labels, (std::vector<int32_t>{0, 1}));
  const std::vector<int64_t> index = {2, 0, 2};
  const Dataset chosen = set.select(index);
  EXPECT_EQ(chosen.labels, (std::vector<int32_t>{0, 0, 0}));
  EXPECT_EQ(chosen.cloud(0)[0], 1);
  EXPECT_EQ(chosen.cloud(1)[0], 0);
}

TEST(ModelNet, CloudsInFiles) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& name, float value) {
    folder.write(name, npy_f32("2, 3", std::vector<float>(6, value)));
  };
  write("train/0_2.npy", 1);
  write("train/a_b_0.npy", 2);
  write("train/5_2.npy", 3);
  write("test/0_3.npy", 4);
  folder.write("train/readme.txt", "not a cloud");
  const Dataset train = modelnet(folder.path(), Split::kTrain, 2);
  EXPECT_EQ(train.classes, 4);  // of both splits
  EXPECT_TRUE(train.class_names.empty());
  EXPECT_EQ(train.labels, (std::vector<int32_t>{0, 2, 2}));
  EXPECT_EQ(train.points[0], 2);
  EXPECT_EQ(train.points[6], 1);
  EXPECT_EQ(modelnet(folder.path(), Split::kTest, 1).points, std::vector<float>(3, 4));
  folder.write("shape_names.txt", "a\nb\nc\nd\ne\n");
  EXPECT_EQ(modelnet(folder.path(), Split::kTest, 1).classes, 5);
}

TEST(ModelNet, Meshes) {
  const TemporaryFolder folder;
  for (const char* name : {"bed/train/bed_0001.off", "bed/train/bed_0002.off",
                           "bed/test/bed_0003.off", "chair/train/chair_0001.off"})
    folder.write(name, kTetrahedron);
  folder.write("README.txt", "");
  const Dataset set = modelnet(folder.path(), Split::kTrain, 64);
  EXPECT_EQ(set.class_names, (std::vector<std::string>{"bed", "chair"}));
  EXPECT_EQ(set.labels, (std::vector<int32_t>{0, 1, 0}));
  EXPECT_EQ(set.w, 64);
  const auto cloud = [](const Dataset& s, int64_t i) {
    return std::vector<float>(s.cloud(i).begin(), s.cloud(i).end());
  };
  EXPECT_NE(cloud(set, 0), cloud(set, 2));  // of other files
  for (int64_t i = 0; i < set.n; ++i) {
    float farthest = 0, sum = 0;
    for (int64_t p = 0; p < 64; ++p) {
      const auto at = set.cloud(i).subspan(static_cast<size_t>(3 * p), 3);
      farthest = std::max(farthest, std::hypot(at[0], at[1], at[2]));
      sum += at[0] + at[1] + at[2];
    }
    EXPECT_NEAR(farthest, 1, 1e-6);
    EXPECT_NEAR(sum, 0, 1e-4);
  }
  // The same wherever the folder lies.
  const TemporaryFolder other;
  other.write("x/bed/train/bed_0001.off", kTetrahedron);
  EXPECT_EQ(cloud(modelnet(other.path("x"), Split::kTrain, 64), 0), cloud(set, 0));
  EXPECT_EQ(modelnet(folder.path(), Split::kTest, 8).labels, std::vector<int32_t>{0});
}

TEST(ModelNet, RefusesMalformedFolders) {
  const TemporaryFolder folder;
  const auto packed = [&](const std::string& name, const char* file, const std::string& content) {
    write_packed(folder, name);
    folder.write(name + '/' + file, content);
    return folder.path(name);
  };
  const auto without = [&](const std::string& name, const char* file) {
    write_packed(folder, name);
    std::filesystem::remove(folder.path(name + '/' + file));
    return folder.path(name);
  };
  const auto clouds = [&](const std::string& name, const char* file, const std::string& content) {
    folder.write(name + '/' + file, content);
    return folder.path(name);
  };
  const std::string good = npy_f32("2, 3", std::vector<float>(6, 1));
  std::filesystem::create_directories(folder.path("empty"));
  std::filesystem::create_directories(folder.path("no_files/train"));
  std::filesystem::create_directories(folder.path("no_meshes/bed/train"));
  folder.write("file", "x");
  const struct {
    std::string folder;
    const char* reason;
  } cases[] = {
      {folder.path("missing"),
       "no clouds: expected train_points_f16.bin, train/ID_LABEL.npy, or "
       "meshes CLASS/train/*.off"},
      {folder.path("empty"), "no clouds"},
      {folder.path("file"), "file: cannot list"},
      {folder.path("no_files"), "train: no files ID_LABEL.npy in it"},
      {folder.path("no_meshes"), "no_meshes: no files CLASS/train/*.off in it"},
      {without("a", "shape_names.txt"), "shape_names.txt: cannot read"},
      {without("b", "train_labels_u8.bin"), "train_labels_u8.bin: cannot read"},
      {without("c", "train_points_f16.bin"), "train_points_f16.bin: cannot read"},
      {packed("d", "shape_names.txt", ""), "shape_names.txt: 0 names of classes"},
      {packed("e", "shape_names.txt", "bed\n\nchair\n"), "shape_names.txt:2: a class without"},
      {packed("f", "train_labels_u8.bin", ""), "the file is empty"},
      {packed("g", "train_labels_u8.bin", std::string("\0\2\1", 3)),
       "cloud 1: label 2, expected 0 to 1, the classes of shape_names.txt"},
      {packed("h", "train_points_f16.bin", std::string(35, '\0')), "its 35 bytes are not 3 clouds"},
      {packed("i", "train_points_f16.bin", std::string(30, '\0')), "its 30 bytes are not 3 clouds"},
      {packed("j", "train_points_f16.bin", std::string(18, '\0')),
       "clouds of 1 points, 2 are wanted"},
      {packed("k", "train_points_f16.bin", ""), "clouds of 0 points"},
      {packed("l", "train_points_f16.bin",
              f16({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, kNan, 0, 0, 0, 0, 0, 0, 0})),
       "cloud 1, point 1: y is nan"},
      {clouds("m", "train/1.npy", good), "1.npy: its name tells no class, expected ID_LABEL.npy"},
      {clouds("n", "train/1_x.npy", good), "its name tells no class"},
      {clouds("o", "train/1_-2.npy", good), "its name tells no class"},
      {clouds("p", "train/1_99999999999.npy", good), "its name tells no class"},
      {clouds("q", "train/1_2.npy", good.substr(0, 50)), "1_2.npy: cut off in its header"},
      {clouds("r", "train/1_2.npy", npy_f32("1, 3", {1, 2, 3})), "with 2 to 1048576 points"},
      {clouds("s", "bed/train/1.off", "OFF\n3 1 0\n"), "1.off:2: 3 vertices and 1 faces cannot"},
      {clouds("t", "bed/train/1.off", "OFF\n3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n"),
       "1.off: its 1 triangles have no area"},
  };
  for (const auto& c : cases) {
    const std::string message =
        refusal(Fault::kInput, [&] { modelnet(c.folder, Split::kTrain, 2); });
    EXPECT_TRUE(message.starts_with(c.folder)) << message;
    EXPECT_CONTAINS(message, c.reason);
  }
  folder.write("u/shape_names.txt", "a\nb\n");
  EXPECT_CONTAINS(refusal(Fault::kInput,
                          [&] { modelnet(clouds("u", "train/1_2.npy", good), Split::kTrain, 2); }),
                  "shape_names.txt: 2 classes, a cloud has label 2");
  folder.write("v/train/1_0.npy", good);
  std::filesystem::create_directories(folder.path("v/test"));
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { modelnet(folder.path("v"), Split::kTest, 2); }),
                  "test: no files ID_LABEL.npy in it");
}

TEST(ModelNet, TheRealSet) {
  const char* data = std::getenv("PASSNORM_DATA");
  const std::string folder = data ? std::string(data) + "/modelnet10" : "";
  if (!data || !std::filesystem::is_directory(folder))
    GTEST_SKIP() << "needs ModelNet10 in $PASSNORM_DATA/modelnet10";
  const Dataset test = modelnet(folder, Split::kTest);
  EXPECT_EQ(test.n, 908);
  EXPECT_EQ(test.classes, 10);
  EXPECT_EQ(test.class_names[9], "toilet");
  EXPECT_EQ(test.points.size(), 908u * 1024 * 3);
  std::map<int32_t, int> count;
  for (const int32_t label : test.labels) ++count[label];
  EXPECT_EQ(count[0], 50);
  EXPECT_EQ(count[2], 100);
  for (int64_t i = 0; i < test.n; i += 97) {
    float farthest = 0;
    for (size_t p = 0; p < 3072; p += 3)
      farthest = std::max(farthest,
                          std::hypot(test.cloud(i)[p], test.cloud(i)[p + 1], test.cloud(i)[p + 2]));
    EXPECT_NEAR(farthest, 1, 2e-3) << i;
  }
  const Dataset few = modelnet(folder, Split::kTest, 256, 20);
  EXPECT_EQ(few.labels,
            (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_TRUE(std::ranges::equal(few.cloud(3), test.cloud(3).first(768)));
}

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

/// What its name says, with the noise left out of account.
TEST(Synthetic3d, TheSurfacesAreUniform) {
  const Dataset set = synthetic3d({.train = 8, .points = 20'000}, Split::kTrain);
  const auto each = [&](int64_t cloud, auto&& f) {
    for (size_t p = 0; p < 60'000; p += 3)
      f(double(set.cloud(cloud)[p]), double(set.cloud(cloud)[p + 1]),
        double(set.cloud(cloud)[p + 2]));
  };
  // Sphere: the heights of its points are uniform, all at one distance.
  double sum2 = 0, least = 2;
  each(0, [&](double x, double y, double z) {
    const double r = std::hypot(x, y, z);
    sum2 += z * z / (r * r) / 20'000;
    least = std::min(least, r);
  });
  EXPECT_NEAR(sum2, 1.0 / 3, 0.01);
  EXPECT_GT(least, 0.8);
  // Cone: points thin out towards the tip, as the square of the distance to it.
  double low = 2, high = -2;
  each(3, [&](double, double, double z) { low = std::min(low, z), high = std::max(high, z); });
  double upper = 0, lateral = 0;
  each(3, [&](double, double, double z) {
    const double up = (z - low) / (high - low);
    if (up < 0.1) return;  // the base and what lies near it
    ++lateral;
    upper += up > 0.55;  // the upper half of the rest
  });
  EXPECT_NEAR(upper / lateral, 0.25, 0.05);
  // Torus: outside of the circle through the middle of its tube there is more of it.
  double outer = 0, inner = 0, far = 0, near = 2;
  each(4, [&](double x, double y, double) {
    far = std::max(far, std::hypot(x, y)), near = std::min(near, std::hypot(x, y));
  });
  each(4, [&](double x, double y, double) {
    (std::hypot(x, y) > (far + near) / 2 ? outer : inner) += 1;
  });
  // (pi R + 2 r) / (2 pi R): between 0.58 and 0.645 for r of 0.25 to 0.45, wide for the noise.
  EXPECT_GT(outer / (outer + inner), 0.56);
  EXPECT_LT(outer / (outer + inner), 0.67);
  EXPECT_GT(near, 0.2);  // it has a hole
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
