#include "kernels/runtime/random.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace passnorm::test {
namespace {

std::array<uint32_t, 4> words(PhiloxWords w) { return {w.w[0], w.w[1], w.w[2], w.w[3]}; }
using Words = std::array<uint32_t, 4>;

/// The known answers of Random123 for philox4x32-10.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(words(philox({0, 0}, 0, 0, 0, 0)),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(words(philox({0xffffffff, 0xffffffff}, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff)),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(words(philox({0xa4093822, 0x299f31d0}, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344)),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

/// Seed, purpose, stream and index each reach the counter or the key: all four halves of seed and
/// index too.
TEST(Random, EveryPartOfTheAddressMatters) {
  std::set<Words> seen;
  for (uint64_t seed : {uint64_t{1}, uint64_t{1} << 32})
    for (Purpose purpose : {Purpose::kInit, Purpose::kTest})
      for (uint32_t stream : {0u, 1u})
        for (uint64_t index : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32})
          seen.insert(words(Random(seed, purpose, stream).words(index)));
  EXPECT_EQ(seen.size(), 2u * 2 * 2 * 3);
}

TEST(Random, WordsOfABlockFollowEachOther) {
  const Random random(7, Purpose::kTest);
  for (uint64_t i : {uint64_t{0}, uint64_t{3}, uint64_t{1} << 20, uint64_t{1} << 35})
    for (uint64_t k = 0; k < 4; ++k) EXPECT_EQ(random.word(4 * i + k), random.words(i).w[k]);
}

TEST(Random, UniformStaysBelowOne) {
  EXPECT_EQ(uniform01(0), 0.0f);
  EXPECT_LT(uniform01(0xffffffff), 1.0f);
  EXPECT_EQ(uniform01(0x80000000), 0.5f);
}

/// Moments of n independent draws lie within 6 standard deviations of their own.
TEST(Random, MomentsOfUniformAndNormal) {
  const Random random(11, Purpose::kTest);
  constexpr uint64_t kN = 1 << 18;
  double u1 = 0, u2 = 0, g1 = 0, g2 = 0, g4 = 0, neighbours = 0;
  for (uint64_t i = 0; i < kN; ++i) {
    const double u = random.uniform(i), g = random.normal(i);
    u1 += u, u2 += u * u, g1 += g, g2 += g * g, g4 += g * g * g * g;
    if (i % 2) neighbours += g * static_cast<double>(random.normal(i - 1));  // both of one block
  }
  const double n = static_cast<double>(kN);
  EXPECT_NEAR(u1 / n, 0.5, 6 * std::sqrt(1 / 12.0 / n));
  EXPECT_NEAR(u2 / n, 1 / 3.0, 6 * std::sqrt(4 / 45.0 / n));  // variance of u^2: 1/5 - 1/9
  EXPECT_NEAR(g1 / n, 0, 6 / std::sqrt(n));
  EXPECT_NEAR(g2 / n, 1, 6 * std::sqrt(2 / n));
  EXPECT_NEAR(g4 / n, 3, 6 * std::sqrt(96 / n));  // variance of g^4: 105 - 9
  EXPECT_NEAR(neighbours / (n / 2), 0, 6 / std::sqrt(n / 2));
}

TEST(Random, BelowCoversItsRange) {
  const Random random(3, Purpose::kTest);
  std::vector<int> count(7);
  for (uint64_t i = 0; i < 7000; ++i) {
    const uint32_t v = random.below(i, 7);
    ASSERT_LT(v, 7u);
    ++count[v];
  }
  for (int c : count) EXPECT_NEAR(c, 1000, 6 * std::sqrt(7000.0 / 7 * 6 / 7));
  EXPECT_EQ(random.below(0, 1), 0u);
}

}  // namespace
}  // namespace passnorm::test
