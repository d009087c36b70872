#include "kernels/runtime/dtype.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

namespace passnorm::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// A 16-bit float by its definition, from sign, exponent and fraction.
double decode(uint16_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits & 0x7fff) >> fraction_bits,
            fraction = bits & ((1 << fraction_bits) - 1);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return fraction ? std::nan("") : sign * kInfinity;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

template <class T>
struct Format;
template <>
struct Format<bfloat16> {
  static constexpr int kExponentBits = 8;
};
template <>
struct Format<float16> {
  static constexpr int kExponentBits = 5;
};

template <class T>
T from_bits(uint16_t bits) {
  T v;
  v.bits = bits;
  return v;
}

template <class T>
class Storage16 : public testing::Test {};
using Types = testing::Types<bfloat16, float16>;
TYPED_TEST_SUITE(Storage16, Types);

TYPED_TEST(Storage16, EveryPatternWidensExactlyAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto pattern = static_cast<uint16_t>(bits);
    const auto value = static_cast<float>(from_bits<TypeParam>(pattern));
    const double expected = decode(pattern, Format<TypeParam>::kExponentBits);
    const TypeParam back(value);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << std::hex << bits;
      ASSERT_TRUE(std::isnan(static_cast<float>(back))) << std::hex << bits;
    } else {
      ASSERT_EQ(value, expected) << std::hex << bits;
      ASSERT_EQ(std::signbit(value), std::signbit(expected)) << std::hex << bits;
      ASSERT_EQ(back.bits, pattern) << std::hex << bits;
    }
  }
}

/// Between every two neighbours: just below the middle, the middle (to even), and just above.
TYPED_TEST(Storage16, RoundsToNearestEven) {
  const uint16_t infinity = static_cast<uint16_t>(((1 << Format<TypeParam>::kExponentBits) - 1)
                                                  << (15 - Format<TypeParam>::kExponentBits));
  for (uint16_t low = 0; low + 1 < infinity; ++low) {
    const auto high = static_cast<uint16_t>(low + 1);
    const double a = decode(low, Format<TypeParam>::kExponentBits),
                 b = decode(high, Format<TypeParam>::kExponentBits);
    const auto middle = static_cast<float>((a + b) / 2);
    for (float sign : {1.0f, -1.0f}) {
      const uint16_t s = sign < 0 ? 0x8000 : 0;
      ASSERT_EQ(TypeParam(sign * middle).bits, s | (low % 2 == 0 ? low : high))
          << "tie above " << a;
      ASSERT_EQ(TypeParam(sign * std::nextafter(middle, 0.0f)).bits, s | low)
          << "below the tie above " << a;
      ASSERT_EQ(TypeParam(sign * std::nextafter(middle, kInfinity)).bits, s | high)
          << "above the tie above " << a;
    }
  }
}

/// From halfway between the largest number and what would come next, everything is infinite.
TYPED_TEST(Storage16, Overflow) {
  const int fraction_bits = 15 - Format<TypeParam>::kExponentBits;
  const uint16_t infinity =
      static_cast<uint16_t>(((1 << Format<TypeParam>::kExponentBits) - 1) << fraction_bits);
  const double largest =
      decode(static_cast<uint16_t>(infinity - 1), Format<TypeParam>::kExponentBits);
  const double spacing =
      largest - decode(static_cast<uint16_t>(infinity - 2), Format<TypeParam>::kExponentBits);
  const auto halfway = static_cast<float>(largest + spacing / 2);
  EXPECT_EQ(TypeParam(halfway).bits, infinity);
  EXPECT_EQ(TypeParam(std::nextafter(halfway, 0.0f)).bits, infinity - 1);
  EXPECT_EQ(TypeParam(std::numeric_limits<float>::max()).bits, infinity);
  EXPECT_EQ(TypeParam(-kInfinity).bits, 0x8000 | infinity);
}

/// Every NaN of f32 stays one: also those whose upper half alone would read as infinity.
TYPED_TEST(Storage16, NanStaysNan) {
  for (uint32_t bits :
       {0x7f800001u, 0x7f80ffffu, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu})
    EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(std::bit_cast<float>(bits)))))
        << std::hex << bits;
}

TEST(DTypes, SizesAndNames) {
  EXPECT_EQ(size_of(DType::kF64), sizeof(double));
  EXPECT_EQ(size_of(DType::kI64), sizeof(int64_t));
  EXPECT_EQ(size_of(DType::kF32), sizeof(float));
  EXPECT_EQ(size_of(DType::kI32), sizeof(int32_t));
  EXPECT_EQ(size_of(DType::kBF16), sizeof(bfloat16));
  EXPECT_EQ(size_of(DType::kF16), sizeof(float16));
  EXPECT_EQ(size_of(DType::kU8), 1u);
  EXPECT_EQ(size_of(DType::kI8), 1u);
  EXPECT_STREQ(name_of(dtype_of<bfloat16>()), "bf16");
  EXPECT_STREQ(name_of(dtype_of<int64_t>()), "i64");
}

TEST(DTypes, EpsilonIsTheSpacingAboveOne) {
  EXPECT_EQ(epsilon_of(DType::kF32), std::numeric_limits<float>::epsilon());
  EXPECT_EQ(epsilon_of(DType::kF64), std::numeric_limits<double>::epsilon());
  const auto above_one = [](auto one) {
    ++one.bits;
    return static_cast<double>(static_cast<float>(one)) - 1;
  };
  EXPECT_EQ(epsilon_of(DType::kBF16), above_one(bfloat16(1.0f)));
  EXPECT_EQ(epsilon_of(DType::kF16), above_one(float16(1.0f)));
}

TEST(DTypes, VisitStorage) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16})
    EXPECT_EQ(visit_storage(dtype, [](auto zero) { return dtype_of<decltype(zero)>(); }), dtype);
  EXPECT_THROW(visit_storage(DType::kI32, [](auto) {}), Error);
}

}  // namespace
}  // namespace passnorm::test
