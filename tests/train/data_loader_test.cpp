#include <algorithm>
#include <numeric>

#include "tests/support/files.hpp"
#include "train/data/loader.hpp"

namespace passnorm::train {
namespace {

using test::refusal;
using Order = std::vector<int64_t>;

Order epoch_of(Loader& loader, int64_t epoch) {
  Order order;
  for (int64_t step = 0; step < loader.steps(); ++step) {
    const auto batch = loader.indices(epoch, step);
    order.insert(order.end(), batch.begin(), batch.end());
  }
  return order;
}

Order counting(int64_t n) {
  Order order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  return order;
}

// The expected orders were computed by a second implementation of Philox and the shuffle, in
// Python.
TEST(Loader, TheOrderIsFixedForEver) {
  Loader loader(10, {.batch = 5, .seed = 1});
  EXPECT_EQ(epoch_of(loader, 0), (Order{3, 6, 4, 5, 0, 7, 9, 8, 1, 2}));
  EXPECT_EQ(epoch_of(loader, 1), (Order{0, 6, 7, 2, 3, 5, 4, 1, 9, 8}));
  Loader other(10, {.batch = 5, .seed = uint64_t{1} << 40});
  EXPECT_EQ(epoch_of(other, 0), (Order{9, 2, 0, 3, 6, 8, 5, 1, 4, 7}));
}

TEST(Loader, EveryEpochIsAPermutation) {
  Loader loader(1000, {.batch = 7, .seed = 3, .drop_last = false});
  EXPECT_EQ(loader.steps(), 143);
  Order previous = counting(1000);
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    Order order = epoch_of(loader, epoch);
    EXPECT_NE(order, previous);
    previous = order;
    std::ranges::sort(order);
    EXPECT_EQ(order, counting(1000));
  }
}

TEST(Loader, EveryPlaceIsEquallyLikely) {
  constexpr int64_t kImages = 8, kEpochs = 8000;
  Loader loader(kImages, {.batch = kImages, .seed = 5});
  std::array<std::array<int, kImages>, kImages> count{};
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const auto order = loader.indices(epoch, 0);
    for (size_t place = 0; place < kImages; ++place)
      ++count[place][static_cast<size_t>(order[place])];
  }
  for (const auto& row : count)
    for (const int n : row)
      EXPECT_NEAR(n, kEpochs / kImages, 5 * 30);  // five standard deviations of 29.6
}

TEST(Loader, ResumesAnywhere) {
  Loader running(100, {.batch = 8, .seed = 9});
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    for (int64_t step = 0; step < running.steps(); ++step) {
      Loader fresh(100, {.batch = 8, .seed = 9});
      EXPECT_TRUE(std::ranges::equal(fresh.indices(epoch, step), running.indices(epoch, step)));
    }
  }
  const Order first = epoch_of(running, 0);  // and goes back
  Loader fresh(100, {.batch = 8, .seed = 9});
  EXPECT_EQ(epoch_of(fresh, 0), first);
}

TEST(Loader, TheBatchSizeDoesNotChangeTheOrder) {
  Loader small(60, {.batch = 4, .seed = 2}), large(60, {.batch = 30, .seed = 2});
  EXPECT_EQ(epoch_of(small, 7), epoch_of(large, 7));
}

TEST(Loader, TheLastBatch) {
  const struct {
    int64_t n, batch;
    bool drop_last;
    int64_t steps, last;
  } cases[] = {{50000, 64, true, 781, 64}, {50000, 64, false, 782, 16}, {64, 64, true, 1, 64},
               {64, 64, false, 1, 64},     {63, 64, false, 1, 63},      {63, 64, true, 0, 0},
               {0, 64, false, 0, 0},       {3, 1, true, 3, 1}};
  for (const auto& c : cases) {
    Loader loader(c.n, {.batch = c.batch, .shuffle = false, .drop_last = c.drop_last});
    EXPECT_EQ(loader.steps(), c.steps);
    if (c.steps > 0) {
      EXPECT_EQ(std::ssize(loader.indices(0, c.steps - 1)), c.last);
    }
    refusal(Fault::kBug, [&] { loader.indices(0, c.steps); });
    refusal(Fault::kBug, [&] { loader.indices(0, -1); });
  }
}

TEST(Loader, WithoutShuffleTheOrderOfTheSet) {
  Loader loader(10, {.batch = 3, .shuffle = false, .drop_last = false});
  EXPECT_EQ(epoch_of(loader, 0), counting(10));
  EXPECT_EQ(epoch_of(loader, 4), counting(10));
}

TEST(Loader, ChecksItsArguments) {
  refusal(Fault::kBug, [] { Loader(-1, {}); });
  refusal(Fault::kBug, [] { Loader(int64_t{1} << 32, {}); });
  refusal(Fault::kBug, [] { Loader(10, {.batch = 0}); });
  refusal(Fault::kBug, [] { Loader(10, {.batch = 1}).indices(-1, 0); });
  refusal(Fault::kBug, [] { Loader(10, {.batch = 1}).indices(int64_t{1} << 32, 0); });
}

}  // namespace
}  // namespace passnorm::train
