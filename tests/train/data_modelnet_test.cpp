// The folders of ModelNet: packed, .npy clouds, meshes.
#include "train/data/modelnet.hpp"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>

#include "kernels/runtime/dtype.hpp"
#include "tests/support/files.hpp"
#include "tests/train/cloud_files.hpp"

namespace passnorm::train {
namespace {

using test::refusal;
using test::TemporaryFolder;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

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

}  // namespace
}  // namespace passnorm::train
