#include "kernels/runtime/view.hpp"

#include <gtest/gtest.h>

#include <array>
#include <sstream>

#include "kernels/runtime/shape.hpp"
#include "kernels/runtime/stream.hpp"

namespace passnorm::test {
namespace {

TEST(Shape, SizesFromBothEnds) {
  const Shape s{2, 3, 4, 5};
  EXPECT_EQ(s.rank(), 4);
  EXPECT_EQ(s.size(), 120);
  EXPECT_EQ(s[0], 2);
  EXPECT_EQ(s[-1], 5);
  EXPECT_EQ(s[-4], 2);
  EXPECT_THROW(s[4], Error);
  EXPECT_THROW(s[-5], Error);
}

TEST(Shape, ScalarAndEmpty) {
  EXPECT_EQ(Shape{}.size(), 1);
  EXPECT_EQ((Shape{3, 0}.size()), 0);
  EXPECT_THROW(Shape{}.with_rows(1), Error);
}

TEST(Shape, RefusesWhatIsNoShape) {
  EXPECT_THROW((Shape{1, 2, 3, 4, 5}), Error);
  EXPECT_THROW((Shape{-1}), Error);
  Shape full{1, 2, 3, 4};
  EXPECT_THROW(full.push_back(5), Error);
}

TEST(Shape, ComparesAndPrints) {
  EXPECT_EQ((Shape{2, 3}.with_rows(7)), (Shape{7, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
  std::ostringstream text;
  text << Shape{2, 3} << Shape{};
  EXPECT_EQ(text.str(), "[2,3][]");
}

TEST(View, KnowsTypeAndSizeOfASpan) {
  std::array<bfloat16, 3> data;
  const View v = std::span<bfloat16>(data);
  EXPECT_EQ(v.dtype, DType::kBF16);
  EXPECT_EQ(v.size, 3);
  EXPECT_EQ(v.as<bfloat16>(), data.data());
  const ConstView c = v;
  EXPECT_EQ(c.as<bfloat16>(), data.data());
  EXPECT_EQ(ConstView(std::span<const bfloat16>(data)).size, 3);
}

TEST(View, RefusesAnotherType) {
  std::array<float, 2> data{};
  const View v = std::span<float>(data);
  EXPECT_THROW(v.as<bfloat16>(), Error);
  EXPECT_THROW(v.as<double>(), Error);
  EXPECT_THROW(ConstView(v).as<int32_t>(), Error);
}

TEST(View, EmptyIsFalse) {
  EXPECT_FALSE(View());
  EXPECT_FALSE(ConstView());
  EXPECT_FALSE(ConstView(std::span<const float>()));
  std::array<float, 1> data{};
  EXPECT_TRUE(View(std::span<float>(data)));
}

TEST(Error, CarriesFaultAndText) {
  try {
    PASSNORM_CHECK(1 + 1 == 3, "sum ", 1 + 1);
    FAIL() << "the check passed";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::kBug);
    const std::string text = error.what();
    EXPECT_NE(text.find("view_test.cpp"), std::string::npos) << text;
    EXPECT_NE(text.find("1 + 1 == 3: sum 2"), std::string::npos) << text;
  }
}

TEST(Stream, DispatchGivesTheStreamItsType) {
  const std::unique_ptr<Stream> s = make_stream(Device::cpu(), 2);
  EXPECT_EQ(s->device(), Device::cpu());
  EXPECT_TRUE(dispatch(*s, []<class S>(S&) { return std::is_same_v<S, CpuStream>; }));
  EXPECT_EQ(static_cast<CpuStream&>(*s).threads(), 2);
}

TEST(Stream, ThreadsOfTheProcessByDefault) {
  EXPECT_GE(CpuStream().threads(), 1);
  EXPECT_THROW(CpuStream(-1), Error);
}

TEST(Stream, MemoryOutlivesIt) {
  std::shared_ptr<MemoryPool> memory;
  {
    const CpuStream s(1);
    memory = s.memory();
  }
  memory->release(memory->allocate(100), 100);
  EXPECT_EQ(memory->used_bytes(), 0u);
}

TEST(Stream, RefusesADeviceThisBuildLacks) {
  try {
    make_stream({Device::Kind::kCuda, 63});
    FAIL() << "a 64th GPU was found";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::kMachine);
  }
}

}  // namespace
}  // namespace passnorm::test
