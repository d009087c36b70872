#include "kernels/augment.hpp"

#include <map>

#include "tests/reference/augment.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {
namespace {

constexpr int64_t kImages = 64, kC = 3, kH = 8, kW = 7;
constexpr int64_t kImageSize = kC * kH * kW;
constexpr std::array<float, 4> kMean{0.4914f, 0.4822f, 0.4465f, 0},
    kStddev{0.2470f, 0.2435f, 0.2616f, 1};
const Bound kBound{.terms = 5};

/// Bytes without repetition near each other: an offset or a flip cannot be mistaken for another.
Buffer images() { return Buffer(DType::kU8, whole(kImages * kImageSize, 1, 256)); }

kernels::Augment arguments(const Buffer& stored, std::span<const int64_t> index) {
  return {.n = static_cast<int64_t>(index.size()),
          .h = kH,
          .w = kW,
          .c = kC,
          .images = stored.read_as<uint8_t>(),
          .index = index,
          .mean = kMean,
          .stddev = kStddev,
          .y = {}};
}

reference::Sums expected_image(const Buffer& stored, int64_t image, int64_t pad, int64_t top,
                               int64_t left, bool flip) {
  const std::vector<double> mean(kMean.begin(), kMean.end()),
      stddev(kStddev.begin(), kStddev.end());
  return reference::augment(kC, kH, kW, stored.read_as<uint8_t>().data() + image * kImageSize, pad,
                            top, left, flip, mean, stddev);
}

/// Which offset and flip made image i of y: exactly one fits.
struct Choice {
  int64_t top, left;
  bool flip;
  auto operator<=>(const Choice&) const = default;
};
Choice recover(const Buffer& stored, int64_t image, const Buffer& y, int64_t i, int64_t pad,
               bool may_flip) {
  const std::vector<double> all = y.values();
  const Buffer actual(y.dtype(), std::vector<double>(all.begin() + i * kImageSize,
                                                     all.begin() + (i + 1) * kImageSize));
  std::vector<Choice> fits;
  for (int64_t top = 0; top <= 2 * pad; ++top)
    for (int64_t left = 0; left <= 2 * pad; ++left)
      for (bool flip : {false, true})
        if ((may_flip || !flip) &&
            close(actual, expected_image(stored, image, pad, top, left, flip), kBound))
          fits.push_back({top, left, flip});
  EXPECT_EQ(fits.size(), 1u) << "image " << image << " is not one window of itself";
  return fits.empty() ? Choice{} : fits[0];
}

class Augment : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Storage, Augment, testing::ValuesIn(kStorage),
                         testing::PrintToStringParamName());

TEST_P(Augment, OnlyNormalises) {
  const Buffer stored = images();
  const std::vector<int64_t> index{5, 0, 63, 5, 17};
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer y(GetParam(), static_cast<int64_t>(index.size()) * kImageSize);
    kernels::Augment a = arguments(stored, index);
    a.y = y.write();
    kernels::augment(s, a);
    return list(std::move(y));
  });
  reference::Sums expected(out[0].size());
  for (size_t i = 0; i < index.size(); ++i) {
    const reference::Sums one = expected_image(stored, index[i], 0, 0, 0, false);
    for (int64_t k = 0; k < kImageSize; ++k)
      expected.add(static_cast<int64_t>(i) * kImageSize + k, one.value[static_cast<size_t>(k)],
                   one.magnitude[static_cast<size_t>(k)]);
  }
  EXPECT_TRUE(close(out[0], expected, kBound, {static_cast<int64_t>(index.size()), kH, kW, kC}));
}

TEST_P(Augment, CropsAndFlipsAreWindowsOfTheImage) {
  const Buffer stored = images();
  std::vector<int64_t> index(kImages);
  for (size_t i = 0; i < index.size(); ++i) index[i] = static_cast<int64_t>(kImages - 1 - i);
  for (int64_t pad : {0, 2})
    for (bool flip : {false, true}) {
      if (pad == 0 && !flip) continue;
      const auto out = on_every_stream([&](TestStream& s) {
        Buffer y(GetParam(), kImages * kImageSize);
        kernels::Augment a = arguments(stored, index);
        a.pad = pad, a.flip = flip, a.seed = 7, a.epoch = 3, a.y = y.write();
        kernels::augment(s, a);
        return list(std::move(y));
      });
      std::map<Choice, int> seen;
      for (int64_t i = 0; i < kImages; ++i)
        ++seen[recover(stored, index[static_cast<size_t>(i)], out[0], i, pad, flip)];
      EXPECT_GT(seen.size(), pad > 0 ? 8u : 1u)
          << "nothing varies: pad " << pad << ", flip " << flip;
    }
}

/// The draw belongs to (seed, epoch, stored image): not to the place in the batch, nor to the
/// batch.
TEST(AugmentRandom, BelongsToTheImage) {
  const Buffer stored = images();
  const std::vector<int64_t> many{3, 9, 27, 40, 41, 42, 43, 44}, one{27};
  const auto run = [&](std::span<const int64_t> index, uint64_t seed, uint32_t epoch) {
    Buffer y(DType::kF32, static_cast<int64_t>(index.size()) * kImageSize);
    kernels::Augment a = arguments(stored, index);
    a.pad = 2, a.flip = true, a.seed = seed, a.epoch = epoch, a.y = y.write();
    kernels::augment(stream(), a);
    return y;
  };
  const std::vector<std::byte> all = run(many, 7, 3).bits(), alone = run(one, 7, 3).bits();
  EXPECT_EQ(
      std::vector<std::byte>(all.begin() + 2 * kImageSize * 4, all.begin() + 3 * kImageSize * 4),
      alone);
  EXPECT_NE(run(many, 8, 3).bits(), all);
  EXPECT_NE(run(many, 7, 4).bits(), all);
}

/// Every one of the 5 x 5 x 2 choices comes up as often as chance says. Chi-square with 49 degrees
/// of freedom: mean 49, deviation sqrt(98); six deviations.
TEST(AugmentRandom, IsUniform) {
  const Buffer stored = images();
  std::vector<int64_t> index(kImages);
  for (size_t i = 0; i < index.size(); ++i) index[i] = static_cast<int64_t>(i);
  std::map<Choice, int> seen;
  constexpr int kEpochs = 16;
  for (uint32_t epoch = 0; epoch < kEpochs; ++epoch) {
    Buffer y(DType::kF32, kImages * kImageSize);
    kernels::Augment a = arguments(stored, index);
    a.pad = 2, a.flip = true, a.epoch = epoch, a.y = y.write();
    kernels::augment(stream(), a);
    for (int64_t i = 0; i < kImages; ++i) ++seen[recover(stored, i, y, i, 2, true)];
  }
  const double expected = kImages * kEpochs / 50.0;
  double chi_square =
      (50.0 - static_cast<double>(seen.size())) * expected;  // choices that never came
  for (const auto& [choice, count] : seen)
    chi_square += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_square, 49 + 6 * std::sqrt(98.0));
}

TEST(AugmentErrors, IndexOutOfRange) {
  const Buffer stored = images();
  for (int64_t bad : {int64_t{-1}, kImages}) {
    const std::vector<int64_t> index{bad};
    Buffer y(DType::kF32, kImageSize);
    kernels::Augment a = arguments(stored, index);
    a.y = y.write();
    EXPECT_THROW(kernels::augment(stream(), a), Error) << bad;
  }
}

}  // namespace
}  // namespace passnorm::test
