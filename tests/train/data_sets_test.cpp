#include <cstdlib>

#include "engine/io/crypto.hpp"
#include "tests/support/files.hpp"
#include "train/data/cifar.hpp"
#include "train/data/dataset.hpp"
#include "train/data/synthetic.hpp"

namespace passnorm::train {
namespace {

using test::refusal;
using test::TemporaryFolder;

constexpr size_t kPixels = 3072;

std::string hash_of(const Dataset& set) {
  return to_hex(blake2b256(std::as_bytes(std::span(set.images))));
}

TEST(DataSpec, KnownForms) {
  EXPECT_EQ(parse_data_spec("cifar10:/data/c").name, "cifar10");
  EXPECT_EQ(parse_data_spec("cifar10:/data/c:1").folder, "/data/c:1");
  EXPECT_EQ(parse_data_spec("cifar100:d").name, "cifar100");
  EXPECT_EQ(parse_data_spec("pictures:/data/p:1").folder, "/data/p:1");
  EXPECT_EQ(parse_data_spec("synthetic").n, 0);
  EXPECT_EQ(parse_data_spec("synthetic:N=123").n, 123);
}

TEST(DataSpec, RefusesWithTheKnownForms) {
  const struct {
    const char* text;
    const char* reason;
  } cases[] = {
      {"",
       "unknown data set \"\"; known are cifar10:DIR, cifar100:DIR, pictures:DIR, "
       "synthetic[:N=COUNT]"},
      {"cifr10:x", "did you mean cifar10?"},
      {"CIFAR-10", "unknown data set \"CIFAR-10\""},
      {"sinthetic", "did you mean synthetic?"},
      {"imagenet:/data", "unknown data set \"imagenet\""},
      {"\x1b[31m", "unknown data set \"\\x1b[31m\""},
      {"cifar10", "needs its folder: cifar10:DIR"},
      {"cifar100:", "needs its folder: cifar100:DIR"},
      {"pictures", "needs its folder: pictures:DIR"},
      {"synthetic:", "COUNT from 1 to 1000000"},
      {"synthetic:N=", "COUNT from 1 to 1000000"},
      {"synthetic:N=0", "COUNT from 1 to 1000000"},
      {"synthetic:N=-5", "COUNT from 1 to 1000000"},
      {"synthetic:N=1000001", "COUNT from 1 to 1000000"},
      {"synthetic:N=99999999999999999999", "COUNT from 1 to 1000000"},
      {"synthetic:N=10x", "COUNT from 1 to 1000000"},
      {"synthetic:M=10", "COUNT from 1 to 1000000"},
  };
  for (const auto& c : cases)
    EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { parse_data_spec(c.text); }), c.reason);
  refusal(Fault::kUsage,
          [] { load({.name = "synthetic", .folder = "", .n = 10}, Split::kTrain, -1); });
}

/// A record of CIFAR-10, every byte of the image is the label plus its plane.
std::string record(uint8_t label) {
  std::string bytes(1, static_cast<char>(label));
  for (const int plane : {0, 1, 2}) bytes.append(kPixels / 3, static_cast<char>(label + plane));
  return bytes;
}

TEST(Cifar, ReadsTheBatchesInOrder) {
  for (const std::string prefix : {"", "cifar-10-batches-bin/"}) {
    const TemporaryFolder folder;
    for (uint8_t batch = 1; batch <= 5; ++batch)
      folder.write(prefix + "data_batch_" + std::to_string(batch) + ".bin",
                   record(batch) + record(0));
    folder.write(prefix + "test_batch.bin", record(9));

    const Dataset train = load(parse_data_spec("cifar10:" + folder.path()), Split::kTrain);
    EXPECT_EQ(train.n, 10);
    EXPECT_EQ(train.labels, (std::vector<int32_t>{1, 0, 2, 0, 3, 0, 4, 0, 5, 0}));
    EXPECT_EQ(train.classes, 10);
    EXPECT_EQ(train.class_names[9], "truck");
    EXPECT_EQ(train.images.size(), 10 * kPixels);
    EXPECT_EQ(train.image(4).front(), 3);  // batch 3, red
    EXPECT_EQ(train.image(4).back(), 5);   // blue
    EXPECT_EQ(load(parse_data_spec("cifar10:" + folder.path()), Split::kTest).labels,
              std::vector<int32_t>{9});

    const Dataset first = cifar10(folder.path(), Split::kTrain, 3);
    EXPECT_EQ(first.n, 3);
    EXPECT_EQ(first.labels, (std::vector<int32_t>{1, 0, 2}));
    EXPECT_EQ(first.images.size(), 3 * kPixels);
    EXPECT_EQ(cifar10(folder.path(), Split::kTrain, 100).n, 10);
  }
}

TEST(Cifar, OfAHundredClassesTheFineLabel) {
  const TemporaryFolder folder;
  folder.write("cifar-100-binary/train.bin", "\x13" + record(99));
  folder.write("cifar-100-binary/test.bin", std::string(1, '\0') + record(7) + '\1' + record(8));
  const Dataset train = load(parse_data_spec("cifar100:" + folder.path()), Split::kTrain);
  EXPECT_EQ(train.labels, std::vector<int32_t>{99});
  EXPECT_EQ(train.classes, 100);
  ASSERT_EQ(train.class_names.size(), 100u);
  EXPECT_EQ(train.class_names[99], "worm");
  EXPECT_TRUE(std::ranges::is_sorted(train.class_names));
  EXPECT_EQ(train.image(0).front(), 99);
  EXPECT_EQ(cifar100(folder.path(), Split::kTest).labels, (std::vector<int32_t>{7, 8}));
  EXPECT_EQ(cifar100(folder.path(), Split::kTest, 1).labels, std::vector<int32_t>{7});
}

TEST(Cifar, RefusesMalformedFiles) {
  const TemporaryFolder folder;
  const auto batches = [&](const std::string& name, const std::string& third) {
    for (const char* batch : {"1", "2", "4", "5"})
      folder.write(name + "/data_batch_" + batch + ".bin", record(0));
    if (!third.empty()) folder.write(name + "/data_batch_3.bin", third);
    return folder.path(name);
  };
  std::filesystem::create_directories(folder.path("nothing"));
  folder.write("file", "x");
  folder.write("only_test/test_batch.bin", record(0));
  folder.write("empty/test_batch.bin", "");
  folder.write("byte/test_batch.bin", "x");
  folder.write("long/test_batch.bin", record(0) + "x");
  folder.write("hundred/train.bin", std::string(1, '\0') + record(100));
  folder.write("ten_as_hundred/train.bin", record(0));
  const std::string of_hundred = '\x13' + record(99);
  folder.write("hundred_empty/test.bin", "");
  folder.write("hundred_cut/test.bin", of_hundred + of_hundred.substr(0, 3073));
  folder.write("hundred_long/test.bin", of_hundred + "xy");
  folder.write("hundred_coarse/test.bin", of_hundred + '\x14' + record(99));
  folder.write("hundred_as_ten/test_batch.bin", of_hundred);
  std::filesystem::create_directories(folder.path("folder/test_batch.bin"));

  const struct {
    const char* set;
    std::string folder;
    Split split;
    std::vector<const char*> reasons;
  } cases[] = {
      {"cifar10",
       folder.path("missing"),
       Split::kTrain,
       {"missing: no cifar10 data: expected data_batch_1.bin there or in cifar-10-batches-bin/"}},
      {"cifar10",
       folder.path("nothing"),
       Split::kTest,
       {"nothing: no cifar10 data: expected test_batch.bin"}},
      {"cifar10", folder.path("file"), Split::kTest, {"file: no cifar10 data"}},
      {"cifar10", folder.path("only_test"), Split::kTrain, {"expected data_batch_1.bin"}},
      {"cifar100",
       folder.path("only_test"),
       Split::kTrain,
       {"no cifar100 data: expected train.bin there or in cifar-100-binary/"}},
      {"cifar10",
       folder.path("empty"),
       Split::kTest,
       {"test_batch.bin: the file is empty, expected records of 3073 bytes"}},
      {"cifar10",
       folder.path("byte"),
       Split::kTest,
       {"test_batch.bin: record 0 has only 1 of 3073 bytes"}},
      {"cifar10",
       folder.path("long"),
       Split::kTest,
       {"test_batch.bin: record 1 has only 1 of 3073 bytes"}},
      {"cifar10",
       folder.path("folder"),
       Split::kTest,
       {"test_batch.bin: cannot read: it is a folder"}},
      {"cifar10",
       batches("no_third", ""),
       Split::kTrain,
       {"data_batch_3.bin: cannot read: no such file"}},
      {"cifar10",
       batches("empty_third", "x"),
       Split::kTrain,
       {"data_batch_3.bin: record 0 has only 1 of 3073"}},
      {"cifar10",
       batches("cut_third", record(1).substr(0, 3000)),
       Split::kTrain,
       {"data_batch_3.bin: record 0 has only 3000 of 3073"}},
      {"cifar10",
       batches("label", record(9) + record(10)),
       Split::kTrain,
       {"data_batch_3.bin: record 1: label 10, expected 0 to 9"}},
      {"cifar10",
       batches("label_255", record(255)),
       Split::kTrain,
       {"data_batch_3.bin: record 0: label 255, expected 0 to 9"}},
      {"cifar100",
       folder.path("hundred"),
       Split::kTrain,
       {"train.bin: record 0: label 100, expected 0 to 99"}},
      {"cifar100",
       folder.path("ten_as_hundred"),
       Split::kTrain,
       {"train.bin: record 0 has only 3073 of 3074 bytes", "not cifar100"}},
      {"cifar100",
       folder.path("hundred_empty"),
       Split::kTest,
       {"test.bin: the file is empty, expected records of 3074 bytes"}},
      {"cifar100",
       folder.path("hundred_cut"),
       Split::kTest,
       {"test.bin: record 1 has only 3073 of 3074 bytes", "not cifar100"}},
      {"cifar100",
       folder.path("hundred_long"),
       Split::kTest,
       {"test.bin: record 1 has only 2 of 3074 bytes"}},
      {"cifar100",
       folder.path("hundred_coarse"),
       Split::kTest,
       {"test.bin: record 1: label 20, expected 0 to 19"}},
      {"cifar100", folder.path("hundred"), Split::kTest, {"expected test.bin there"}},
      {"cifar10",
       folder.path("hundred_as_ten"),
       Split::kTest,
       {"test_batch.bin: record 1 has only 1 of 3073 bytes"}},
  };
  for (const auto& c : cases) {
    const DataSpec spec{.name = c.set, .folder = c.folder, .n = 0};
    const std::string message = refusal(Fault::kInput, [&] { load(spec, c.split); });
    EXPECT_TRUE(message.starts_with(c.folder)) << message;
    for (const char* reason : c.reasons) EXPECT_CONTAINS(message, reason);
  }
}

TEST(Cifar, TheRealSet) {
  const char* data = std::getenv("PASSNORM_DATA");
  if (!data)
    GTEST_SKIP()
        << "set PASSNORM_DATA to a folder that holds cifar10/ with the official binary files";
  for (const Split split : {Split::kTrain, Split::kTest}) {
    const Dataset set = cifar10(std::string(data) + "/cifar10", split);
    const int64_t expected = split == Split::kTrain ? 50000 : 10000;
    ASSERT_EQ(set.n, expected);
    std::vector<int64_t> count(10);
    for (const int32_t label : set.labels) ++count[static_cast<size_t>(label)];
    EXPECT_EQ(count, std::vector<int64_t>(10, expected / 10));
    if (split == Split::kTest) continue;
    std::array<double, 3> sum{};
    for (size_t i = 0; i < set.images.size(); ++i) sum[i / 1024 % 3] += set.images[i];
    for (size_t c = 0; c < 3; ++c)
      EXPECT_NEAR(sum[c] / (50000.0 * 1024 * 255), set.mean[c], 1e-4) << c;
  }
}

TEST(Synthetic, TheBytesAreFixedForEver) {
  EXPECT_EQ(hash_of(synthetic({}, Split::kTrain, 1000)),
            "f08784b4cbaba8208908b84094a5f83fbafe3cca86b7e19ee7432c4d59296f3d");
  EXPECT_EQ(hash_of(synthetic({}, Split::kTest, 1000)),
            "9573fc9e1e1853fb9090e5053496feb421497893efc9292ec6fa5d1bd65a2c58");
}

TEST(Synthetic, AnImageDependsOnSeedSplitAndIndexOnly) {
  const Dataset all = load(parse_data_spec("synthetic:N=100"), Split::kTrain);
  const Dataset first = load(parse_data_spec("synthetic:N=2000"), Split::kTrain, 100);
  EXPECT_EQ(all.images, first.images);
  EXPECT_EQ(all.labels, first.labels);
  EXPECT_EQ(load(parse_data_spec("synthetic:N=101"), Split::kTest).n, 26);
  EXPECT_NE(all.images, synthetic({}, Split::kTest, 100).images);
  EXPECT_NE(all.images, synthetic({.seed = 2}, Split::kTrain, 100).images);
}

TEST(Synthetic, Balanced) {
  for (const Split split : {Split::kTrain, Split::kTest}) {
    const Dataset set = load(parse_data_spec("synthetic"), split);
    EXPECT_EQ(set.n, split == Split::kTrain ? 8000 : 2000);
    EXPECT_EQ(set.class_names.size(), 10u);
    std::vector<int64_t> count(10);
    for (const int32_t label : set.labels) ++count.at(static_cast<size_t>(label));
    EXPECT_EQ(count, std::vector<int64_t>(10, set.n / 10));
  }
}

std::array<double, 3> mean_colour(const Dataset& set, int64_t i) {
  std::array<double, 3> mean{};
  const auto image = set.image(i);
  for (size_t k = 0; k < image.size(); ++k) mean[k / 1024] += image[k] / 1024.0;
  return mean;
}

TEST(Synthetic, TheMeanColourTellsNothing) {
  const Dataset train = synthetic({}, Split::kTrain), test = synthetic({}, Split::kTest);
  std::array<std::array<double, 3>, 10> centroid{};
  for (int64_t i = 0; i < train.n; ++i) {
    const auto colour = mean_colour(train, i);
    for (size_t c = 0; c < 3; ++c)
      centroid[static_cast<size_t>(train.labels[static_cast<size_t>(i)])][c] += colour[c] / 800;
  }
  int hits = 0;
  for (int64_t i = 0; i < test.n; ++i) {
    const auto colour = mean_colour(test, i);
    const auto distance = [&](const std::array<double, 3>& to) {
      double sum = 0;
      for (size_t c = 0; c < 3; ++c) sum += (colour[c] - to[c]) * (colour[c] - to[c]);
      return sum;
    };
    const auto nearest = std::ranges::min_element(centroid, {}, distance) - centroid.begin();
    hits += nearest == test.labels[static_cast<size_t>(i)];
  }
  EXPECT_LT(hits, 0.15 * static_cast<double>(test.n));
}

}  // namespace
}  // namespace passnorm::train
