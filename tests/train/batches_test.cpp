// Batches of a run: training images in front, triggers behind them.
#include "train/batches.hpp"

#include <cmath>
#include <numeric>
#include <set>

#include "tests/train/training.hpp"

namespace passnorm::train {
namespace {

std::vector<float> pixels(const Batch& b) { return b.x.to_host(*test::network_stream()); }
std::vector<int32_t> labels(const Batch& b) {
  return b.labels.to_host<int32_t>(*test::network_stream());
}

/// Triggers whose every byte, and label, is their number.
Dataset numbered(int64_t n, const Dataset& like) {
  Dataset set = trigger_images(n, like);
  for (size_t i = 0; i < set.images.size(); ++i) set.images[i] = static_cast<uint8_t>(i / 3072);
  for (size_t i = 0; i < set.labels.size(); ++i) set.labels[i] = static_cast<int32_t>(i % 10);
  return set;
}

class BatchesTest : public testing::Test {
 protected:
  BatchesTest() : data_(train_set(50)), options_(quick(3, 8)) { options_.flip = true; }

  Batches make(const Dataset* triggers) {
    return {*test::network_stream(), {data_, nullptr, triggers}, options_};
  }
  /// The numbers of the triggers in a batch, read from their first pixel.
  std::vector<int> numbers(Batches& batches, const Position& p) const {
    const auto x = pixels(batches.at(p));
    std::vector<int> found;
    for (int64_t i = options_.batch; i < batches.rows(); ++i) {
      const float v = x[static_cast<size_t>(i * 3072)] * data_.stddev[0] + data_.mean[0];
      found.push_back(static_cast<int>(std::lround(v * 255)));
    }
    return found;
  }

  Dataset data_;
  FitOptions options_;
};

TEST_F(BatchesTest, TriggersStandBehindTheTrainingImages) {
  const Dataset triggers = trigger_images(5, data_);
  Batches plain = make(nullptr), mixed = make(&triggers);
  EXPECT_EQ(plain.rows(), 8);
  EXPECT_EQ(mixed.rows(), 10);
  EXPECT_EQ(plain.steps(), 6);
  EXPECT_EQ(mixed.steps(), 6);
  EXPECT_FALSE(plain.triggers());
  EXPECT_EQ(mixed.triggers()->size(), 5);
  // Triggers are not augmented, each with its own label.
  std::vector<int64_t> all(5);
  std::iota(all.begin(), all.end(), 0);
  const Batch clean = DeviceDataset(*test::network_stream(), triggers).batch(all);
  const auto clean_x = pixels(clean);
  const auto clean_labels = labels(clean);
  std::set<size_t> seen;
  for (const Position p : {Position{0, 0}, {0, 5}, {2, 3}}) {
    const Batch a = plain.at(p), b = mixed.at(p);
    auto ax = pixels(a), bx = pixels(b);
    auto al = labels(a), bl = labels(b);
    EXPECT_EQ(ax, (std::vector<float>(bx.begin(), bx.begin() + 8 * 3072)));
    EXPECT_EQ(al, (std::vector<int32_t>(bl.begin(), bl.begin() + 8)));
    for (std::ptrdiff_t row : {8, 9}) {
      size_t which = 5;
      for (size_t t = 0; t < 5; ++t)
        if (std::equal(bx.begin() + row * 3072, bx.begin() + (row + 1) * 3072,
                       clean_x.begin() + static_cast<std::ptrdiff_t>(t) * 3072))
          which = t;
      ASSERT_LT(which, 5u);
      EXPECT_EQ(bl[static_cast<size_t>(row)], clean_labels[which]);
      seen.insert(which);
    }
  }
  EXPECT_GE(seen.size(), 3u);
}

TEST_F(BatchesTest, PassesOverTheTriggersAreShuffledAndBeginWithTheEpoch) {
  const Dataset triggers = numbered(7, data_);  // three steps of two a pass, one left out
  Batches batches = make(&triggers);
  std::set<std::vector<int>> passes;
  for (int64_t epoch = 0; epoch < 4; ++epoch)
    for (const int64_t first : {0, 3}) {
      std::vector<int> pass;
      for (int64_t step = first; step < first + 3; ++step)
        for (const int n : numbers(batches, {epoch, step})) pass.push_back(n);
      const std::set<int> different(pass.begin(), pass.end());
      EXPECT_EQ(different.size(), 6u) << "a trigger twice in one pass";
      EXPECT_LT(*different.rbegin(), 7);
      passes.insert(pass);
    }
  EXPECT_EQ(passes.size(), 8u);  // 5040 orders
  // Position and seed decide, not what came before.
  Batches again = make(&triggers);
  for (const Position p : {Position{3, 5}, {0, 0}, {2, 2}})
    EXPECT_EQ(numbers(again, p), numbers(batches, p));
  const auto before = numbers(batches, {1, 1});
  options_.seed = 2;
  Batches other = make(&triggers);
  bool differs = false;
  for (int64_t step = 0; step < 6; ++step)
    differs |= numbers(other, {1, step}) != numbers(batches, {1, step});
  EXPECT_TRUE(differs);
}

TEST_F(BatchesTest, TriggersPerBatch) {
  const Dataset triggers = numbered(7, data_);
  options_.triggers_per_batch = 7;
  Batches all = make(&triggers);
  EXPECT_EQ(all.rows(), 15);
  auto n = numbers(all, {0, 3});
  std::ranges::sort(n);
  EXPECT_EQ(n, (std::vector<int>{0, 1, 2, 3, 4, 5, 6}));
  for (const int64_t bad : {0, -1, 8}) {
    options_.triggers_per_batch = bad;
    EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { make(&triggers); }), "of a set of 7");
    make(nullptr);
  }
}

TEST_F(BatchesTest, InBf16TheSameRounded) {
  const Dataset triggers = trigger_images(4, data_);
  const Position p{1, 2};
  const auto exact = pixels(make(&triggers).at(p));
  options_.precision = DType::kBF16;
  const auto rounded = make(&triggers).at(p).x.to_host<bfloat16>(*test::network_stream());
  ASSERT_EQ(rounded.size(), exact.size());
  for (size_t i = 0; i < exact.size(); ++i)
    ASSERT_EQ(static_cast<float>(rounded[i]), static_cast<float>(bfloat16(exact[i])));
}

}  // namespace
}  // namespace passnorm::train
