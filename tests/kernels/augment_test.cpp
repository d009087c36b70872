#include "kernels/augment.hpp"

#include <map>

#include "tests/reference/augment.hpp"
#include "tests/support/device_value.hpp"
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

Buffer indices(const std::vector<int64_t>& index) {
  return Buffer(DType::kI64, std::vector<double>(index.begin(), index.end()));
}

kernels::Augment arguments(const Buffer& stored, const Buffer& index) {
  return {.n = index.size(),
          .h = kH,
          .w = kW,
          .c = kC,
          .images = stored.read_as<uint8_t>(),
          .index = index.read_as<int64_t>(),
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
  const Buffer picked = indices(index);
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer y(GetParam(), static_cast<int64_t>(index.size()) * kImageSize);
    kernels::Augment a = arguments(stored, picked);
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
  const Buffer picked = indices(index);
  for (int64_t pad : {0, 2})
    for (bool flip : {false, true}) {
      if (pad == 0 && !flip) continue;
      const auto out = on_every_stream([&](TestStream& s) {
        Buffer y(GetParam(), kImages * kImageSize);
        kernels::Augment a = arguments(stored, picked);
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
  const auto run = [&](const std::vector<int64_t>& index, uint64_t seed, uint32_t epoch) {
    const Buffer picked = indices(index);
    Buffer y(DType::kF32, static_cast<int64_t>(index.size()) * kImageSize);
    kernels::Augment a = arguments(stored, picked);
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
  const Buffer picked = indices(index);
  std::map<Choice, int> seen;
  constexpr int kEpochs = 16;
  for (uint32_t epoch = 0; epoch < kEpochs; ++epoch) {
    Buffer y(DType::kF32, kImages * kImageSize);
    kernels::Augment a = arguments(stored, picked);
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

/// All devices, to the bit: the numbers of a run do not depend on where it runs. 4 channels of a
/// width that is no multiple of any vector, 1 channel, and rows of whole vectors.
TEST_P(Augment, SameOnEveryDevice) {
  struct Image {
    int64_t c, h, w;
  };
  CpuStream cpu(1);
  for (const Image& size : {Image{4, 5, 3}, Image{1, 9, 7}, Image{3, 32, 32}, Image{3, 8, 16}}) {
    SCOPED_TRACE(testing::Message() << size.c << " x " << size.h << " x " << size.w);
    const int64_t bytes = size.c * size.h * size.w;
    const Buffer stored(DType::kU8, whole(7 * bytes, 2, 256)), picked = indices({6, 0, 3, 3, 5});
    const auto run = [&](auto& s) {
      Buffer y(GetParam(), 5 * bytes);
      kernels::augment(s, {.n = 5,
                           .h = size.h,
                           .w = size.w,
                           .c = size.c,
                           .images = stored.read_as<uint8_t>(),
                           .index = picked.read_as<int64_t>(),
                           .mean = {0.1f, 0.5f, 0.7f, 0.3f},
                           .stddev = {0.3f, 0.2f, 0.9f, 0.7f},
                           .pad = 4,
                           .flip = true,
                           .seed = 0x123456789abcdef0,
                           .epoch = 11u,
                           .y = y.write()});
      return list(std::move(y));
    };
    EXPECT_TRUE(same_bits(on_every_stream(run)[0], run(cpu)[0]));
  }
}

TEST(AugmentLabels, ArePicked) {
  const Buffer stored = images(), picked = indices({5, 0, 63, 5}),
               labels(DType::kI32, whole(kImages, 3, 1000));
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer y(DType::kF32, 4 * kImageSize), chosen(DType::kI32, 4);
    kernels::Augment a = arguments(stored, picked);
    a.y = y.write();
    a.labels = labels.read_as<int32_t>();
    a.picked_labels = chosen.write_as<int32_t>();
    kernels::augment(s, a);
    return list(std::move(chosen));
  });
  EXPECT_EQ(out[0].values(), (std::vector<double>{labels[5], labels[0], labels[63], labels[5]}));
}

TEST(AugmentRandom, EpochIsReadOnTheDevice) {
  const Buffer stored = images(), picked = indices({1, 2, 3, 4, 5, 6, 7, 8});
  InDeviceMemory<uint32_t> epoch(3);
  const auto run = [&](DeviceValue<uint32_t> value) {
    Buffer y(DType::kF32, 8 * kImageSize);
    kernels::Augment a = arguments(stored, picked);
    a.pad = 2, a.epoch = value, a.y = y.write();
    kernels::augment(stream(), a);
    return y;
  };
  const Buffer read = run(epoch.at());
  EXPECT_TRUE(same_bits(read, run(3u)));
  EXPECT_FALSE(same_bits(read, run(0u)));
}

TEST(AugmentErrors, LabelsOfOtherImages) {
  const Buffer stored = images(), picked = indices({1, 2}),
               few(DType::kI32, whole(kImages - 1, 3, 9)),
               labels(DType::kI32, whole(kImages, 3, 9));
  Buffer y(DType::kF32, 2 * kImageSize), one(DType::kI32, 1), two(DType::kI32, 2);
  kernels::Augment a = arguments(stored, picked);
  a.y = y.write();
  a.labels = few.read_as<int32_t>(), a.picked_labels = two.write_as<int32_t>();
  EXPECT_THROW(kernels::augment(stream(), a), Error);
  a.labels = labels.read_as<int32_t>(), a.picked_labels = one.write_as<int32_t>();
  EXPECT_THROW(kernels::augment(stream(), a), Error);
}

/// A GPU's host cannot see the indices: such an image is NaN, its label -1, and no other suffers.
TEST(AugmentErrors, IndexOutOfRange) {
  const Buffer stored = images(), labels(DType::kI32, whole(kImages, 3, 1000));
  for (int64_t bad : {int64_t{-1}, kImages, int64_t{1} << 40, -(int64_t{1} << 40)}) {
    const Buffer picked = indices({bad, 7});
    Buffer y(DType::kF32, 2 * kImageSize), chosen(DType::kI32, 2);
    kernels::Augment a = arguments(stored, picked);
    a.pad = 2, a.flip = true, a.y = y.write();
    a.labels = labels.read_as<int32_t>(), a.picked_labels = chosen.write_as<int32_t>();
    if (stream().device().kind == Device::Kind::kCpu) {
      EXPECT_THROW(kernels::augment(stream(), a), Error) << bad;
      continue;
    }
    kernels::augment(stream(), a);
    for (int64_t i = 0; i < y.size(); ++i) ASSERT_EQ(std::isnan(y[i]), i < kImageSize) << bad;
    EXPECT_EQ(chosen.values(), (std::vector<double>{-1, labels[7]}));
  }
}

}  // namespace
}  // namespace passnorm::test
