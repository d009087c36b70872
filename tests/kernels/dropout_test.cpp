#include "kernels/dropout.hpp"

#include <cmath>

#include "tests/support/device_value.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {
namespace {

constexpr float kProbability = 0.4f;

/// What ones become: the factors.
std::vector<double> mask(int64_t n, const kernels::Dropout& like) {
  const Buffer ones(DType::kF32, std::vector<double>(static_cast<size_t>(n), 1.0));
  Buffer y(DType::kF32, n);
  kernels::Dropout a = like;
  a.x = ones.read(), a.y = y.write();
  kernels::dropout(stream(), a);
  return y.values();
}

class Dropout : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Storage, Dropout, testing::ValuesIn(kStorage),
                         testing::PrintToStringParamName());

/// Two parts have one mask, which is that of either alone; dx from dy by the same call.
TEST_P(Dropout, MultipliesByTheMask) {
  const DType dtype = GetParam();
  for (const int64_t n : {1, 3, 4, 31, 32, 33, 1000, 4096})
    for (const int64_t parts : {1, 2, 3})
      for (const bool accumulate : {false, true}) {
        SCOPED_TRACE(testing::Message() << n << " elements, parts " << parts);
        const kernels::Dropout settings{
            .probability = kProbability, .seed = 7, .step = 3u, .layer = 1};
        const std::vector<double> factor = mask(n, settings);
        const Buffer x(dtype, uniform(parts * n, 1)), before(dtype, uniform(parts * n, 2));
        const auto out = on_every_stream([&](TestStream& s) {
          Buffer y = accumulate ? Buffer(dtype, before.values()) : Buffer(dtype, parts * n);
          kernels::Dropout a = settings;
          a.parts = parts, a.x = x.read(), a.y = y.write(), a.accumulate = accumulate;
          kernels::dropout(s, a);
          return list(std::move(y));
        });
        reference::Sums expected(parts * n);
        for (int64_t i = 0; i < parts * n; ++i) {
          const double f = factor[static_cast<size_t>(i % n)];
          EXPECT_TRUE(f == 0 || f == static_cast<double>(static_cast<float>(
                                         1 / (1 - static_cast<double>(kProbability)))))
              << f;
          expected.add(i, f * x[i]);
        }
        if (accumulate) expected += before.values();
        EXPECT_TRUE(close(out[0], expected, {.terms = 2}, {parts, n}));
      }
}

TEST_P(Dropout, SameOnEveryDevice) {
  CpuStream cpu(1);
  for (const int64_t n : {33, 512}) {
    const Buffer x(GetParam(), uniform(2 * n, 1));
    const auto run = [&](auto& s) {
      Buffer y(GetParam(), 2 * n);
      kernels::dropout(s, {.parts = 2,
                           .x = x.read(),
                           .y = y.write(),
                           .probability = kProbability,
                           .seed = 0x123456789abcdef0,
                           .step = 11u,
                           .layer = 2});
      return list(std::move(y));
    };
    EXPECT_TRUE(same_bits(on_every_stream(run)[0], run(cpu)[0]));
  }
}

TEST(DropoutMask, BelongsToSeedStepAndLayer) {
  const kernels::Dropout settings{.probability = 0.5f, .seed = 7, .step = 3u, .layer = 1};
  const std::vector<double> first = mask(256, settings);
  EXPECT_EQ(mask(256, settings), first);
  EXPECT_EQ(mask(33, settings), std::vector<double>(first.begin(), first.begin() + 33));
  kernels::Dropout other = settings;
  other.seed = 8;
  EXPECT_NE(mask(256, other), first);
  other = settings, other.step = 4u;
  EXPECT_NE(mask(256, other), first);
  other = settings, other.layer = 2;
  EXPECT_NE(mask(256, other), first);
  InDeviceMemory<uint32_t> step(3);
  other = settings, other.step = step.at();
  EXPECT_EQ(mask(256, other), first);
}

/// Elements are dropped with the probability, independently of their neighbours of every distance
/// up to 8: within six deviations of what chance says.
TEST(DropoutMask, IsUniform) {
  constexpr int64_t kN = 20000;
  for (const float p : {0.05f, 0.4f, 0.9f}) {
    const std::vector<double> factor = mask(kN, {.probability = p, .seed = 5});
    for (int64_t distance = 0; distance <= 8; ++distance) {
      int64_t count = 0;
      for (int64_t i = distance; i < kN; ++i)
        count +=
            factor[static_cast<size_t>(i)] == 0 && factor[static_cast<size_t>(i - distance)] == 0;
      const double q = distance == 0 ? p : static_cast<double>(p) * static_cast<double>(p);
      // Overlapping pairs are dependent: at most three times the variance of independent ones.
      const double n = static_cast<double>(kN - distance);
      EXPECT_NEAR(static_cast<double>(count), n * q, 6 * std::sqrt(3 * n * q * (1 - q)))
          << "p " << p << ", distance " << distance;
    }
  }
}

TEST(DropoutMask, OfProbabilityZeroIsOne) {
  EXPECT_EQ(mask(100, {.probability = 0}), std::vector<double>(100, 1.0));
}

TEST(DropoutErrors, Arguments) {
  const Buffer x(DType::kF32, uniform(6, 1));
  Buffer y(DType::kF32, 6);
  for (const float p : {-0.1f, 1.0f, std::nanf("")})
    EXPECT_THROW(kernels::dropout(stream(), {.x = x.read(), .y = y.write(), .probability = p}),
                 Error);
  EXPECT_THROW(
      kernels::dropout(stream(), {.parts = 4, .x = x.read(), .y = y.write(), .probability = 0.5f}),
      Error);
}

}  // namespace
}  // namespace passnorm::test
