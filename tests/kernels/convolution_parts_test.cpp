// What stands around cuDNN's convolution on CUDA.
#if PASSNORM_TEST_CUDA

#include <cmath>

#include "kernels/cuda/bias.hpp"
#include "kernels/cuda/pad.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"
#include "tests/support/types.hpp"

namespace passnorm::test {
namespace {

struct Sizes {
  int64_t x_rows, x_channels, y_rows, y_channels;
};
/// Added, removed, copied as they are; whole vectors in y and not.
const std::vector<Sizes> kSizes{
    {5, 3, 5, 8},  {65, 3, 65, 4}, {9, 31, 12, 32},   {12, 32, 9, 31},   {7, 16, 7, 16},
    {4, 24, 4, 8}, {1, 1, 1, 1},   {130, 5, 144, 16}, {144, 16, 130, 5}, {2048, 8, 2048, 3}};

class ConvolutionParts : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Storage, ConvolutionParts, testing::ValuesIn(kStorage),
                         testing::PrintToStringParamName());

TEST_P(ConvolutionParts, CopyChannels) {
  for (const DType to : kStorage)
    for (const Sizes& z : kSizes)
      for (const bool accumulate : {false, true}) {
        SCOPED_TRACE(testing::Message()
                     << "[" << z.x_rows << "," << z.x_channels << "] to [" << z.y_rows << ","
                     << z.y_channels << "] " << name_of(to) << ", accumulate " << accumulate);
        const Buffer x(GetParam(), uniform(z.x_rows * z.x_channels, 1));
        const Buffer before(to, uniform(z.y_rows * z.y_channels, 2));
        std::vector<double> expected(static_cast<size_t>(before.size()));
        for (int64_t r = 0; r < z.y_rows; ++r)
          for (int64_t c = 0; c < z.y_channels; ++c) {
            const int64_t i = r * z.y_channels + c;
            const bool inside = r < z.x_rows && c < z.x_channels;
            const double value = inside ? x[r * z.x_channels + c] : 0;
            expected[static_cast<size_t>(i)] =
                static_cast<float>(value + (accumulate ? before[i] : 0));
          }
        const auto y = on_every_stream([&](TestStream& s) {
          Buffer out = accumulate ? Buffer(to, before.values()) : Buffer(to, before.size());
          kernels::copy_channels(s, {.x_rows = z.x_rows,
                                     .x_channels = z.x_channels,
                                     .y_rows = z.y_rows,
                                     .y_channels = z.y_channels,
                                     .x = x.read(),
                                     .y = out.write(),
                                     .accumulate = accumulate});
          return list(std::move(out));
        });
        EXPECT_TRUE(same_bits(y[0], Buffer(to, expected)));
      }
}

TEST_P(ConvolutionParts, AddBias) {
  constexpr int64_t kRows = 37, kChannels = 19;
  const Buffer before(GetParam(), uniform(kRows * kChannels, 1));
  const Buffer bias(DType::kF32, uniform(kChannels, 2));
  for (const bool with_bias : {false, true})
    for (const bool relu : {false, true}) {
      std::vector<double> expected = before.values();
      for (size_t i = 0; i < expected.size(); ++i) {
        if (with_bias)
          expected[i] = static_cast<float>(expected[i] + bias[static_cast<int64_t>(i) % kChannels]);
        if (relu) expected[i] = std::max(expected[i], 0.0);
      }
      const auto y = on_every_stream([&](TestStream& s) {
        Buffer out(GetParam(), before.values());
        kernels::add_bias(s, {.rows = kRows,
                              .channels = kChannels,
                              .bias = with_bias ? bias.read() : ConstView(),
                              .y = out.write(),
                              .relu = relu});
        return list(std::move(out));
      });
      EXPECT_TRUE(equal(y[0], Buffer(GetParam(), expected).values()))
          << "bias " << with_bias << ", relu " << relu;
    }
}

/// NaN is no number below zero.
TEST_P(ConvolutionParts, ReluKeepsNan) {
  Buffer y(GetParam(), std::vector<double>{-1, std::nan(""), 2});
  kernels::add_bias(stream(), {.rows = 1, .channels = 3, .y = y.write(), .relu = true});
  EXPECT_TRUE(equal(y, {0, std::nan(""), 2}));
}

TEST_P(ConvolutionParts, BiasGradient) {
  struct Case {
    int64_t rows, channels;
  };
  // One block, several, several columns of blocks, and more rows than 64 for every thread.
  for (const Case z :
       {Case{1, 1}, Case{7, 33}, Case{513, 32}, Case{2000, 5}, Case{1600, 70}, Case{133000, 3}})
    for (const bool accumulate : {false, true}) {
      SCOPED_TRACE(testing::Message()
                   << "[" << z.rows << "," << z.channels << "], accumulate " << accumulate);
      const Buffer dy(GetParam(), uniform(z.rows * z.channels, 1));
      const Buffer before(DType::kF32, uniform(z.channels, 2));
      reference::Sums expected(z.channels);
      for (int64_t i = 0; i < dy.size(); ++i) expected.add(i % z.channels, dy[i]);
      if (accumulate) expected += before.values();
      const auto dbias = on_every_stream([&](TestStream& s) {
        Buffer out =
            accumulate ? Buffer(DType::kF32, before.values()) : Buffer(DType::kF32, z.channels);
        kernels::bias_gradient(s, {.rows = z.rows,
                                   .channels = z.channels,
                                   .dy = dy.read(),
                                   .dbias = out.write(),
                                   .accumulate = accumulate});
        return list(std::move(out));
      });
      // A run of 64, two of them, the rows of a block, the blocks, what was there.
      EXPECT_TRUE(close(dbias[0], expected, {.terms = 64 + 2 + 8 + 256 + 1}));
    }
}

TEST(ConvolutionPartsErrors, SizesThatDisagree) {
  const Buffer x(DType::kF32, uniform(6, 1));
  Buffer y(DType::kF32, 8), dbias(DType::kF32, 2);
  EXPECT_THROW(kernels::copy_channels(stream(), {.x_rows = 2,
                                                 .x_channels = 4,
                                                 .y_rows = 2,
                                                 .y_channels = 4,
                                                 .x = x.read(),
                                                 .y = y.write()}),
               Error);
  EXPECT_THROW(kernels::add_bias(stream(), {.rows = 3, .channels = 3, .y = y.write()}), Error);
  EXPECT_THROW(kernels::bias_gradient(
                   stream(), {.rows = 2, .channels = 3, .dy = x.read(), .dbias = dbias.write()}),
               Error);
}

}  // namespace
}  // namespace passnorm::test

#endif
