#include "kernels/loss.hpp"

#include "tests/reference/loss.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

struct Size {
  int64_t lanes, rows, classes;
};
void PrintTo(const Size& z, std::ostream* out) {
  *out << "lanes" << z.lanes << "_rows" << z.rows << "_classes" << z.classes;
}

class CrossEntropy : public testing::TestWithParam<Size> {};

TEST_P(CrossEntropy, LossHitsAndGradient) {
  const auto [lanes, rows, classes] = GetParam();
  const int64_t lane_size = rows * classes;
  std::vector<int32_t> labels(static_cast<size_t>(rows));
  for (size_t i = 0; i < labels.size(); ++i)
    labels[i] = static_cast<int32_t>((7 * i + 3) % static_cast<size_t>(classes));
  const Buffer logits(DType::kF32, uniform(lanes * lane_size, 1, -4, 4));
  for (float smoothing : {0.0f, 0.1f})
    for (float weight : {1.0f, 1024.0f})
      for (bool want_gradient : {true, false}) {
        SCOPED_TRACE(testing::Message() << "smoothing " << smoothing << ", weight " << weight
                                        << ", gradient " << want_gradient);
        const auto out = on_every_stream([&, n = lanes, r = rows, k = classes](TestStream& s) {
          Buffer loss(DType::kF32, n), hits(DType::kI32, n), dlogits;
          if (want_gradient) dlogits = Buffer(DType::kF32, logits.size());
          kernels::cross_entropy(s, {.lanes = n,
                                     .rows = r,
                                     .classes = k,
                                     .logits = logits.read_as<float>(),
                                     .labels = labels,
                                     .smoothing = smoothing,
                                     .weight = weight,
                                     .loss = loss.write_as<float>(),
                                     .hits = hits.write_as<int32_t>(),
                                     .dlogits = dlogits.write_as<float>()});
          return list(std::move(loss), std::move(hits), std::move(dlogits));
        });
        reference::Sums loss(lanes), dlogits(logits.size());
        const std::vector<double> all = logits.values();
        for (int64_t l = 0; l < lanes; ++l) {
          const reference::CrossEntropyResult r = reference::cross_entropy(
              rows, classes,
              std::vector<double>(all.begin() + l * lane_size, all.begin() + (l + 1) * lane_size),
              labels, smoothing);
          loss.add(l, r.loss, r.loss_magnitude);
          EXPECT_EQ(out[1][l], static_cast<double>(r.hits)) << "lane " << l;
          for (int64_t i = 0; i < lane_size; ++i)
            dlogits.add(l * lane_size + i, weight * r.dlogits.value[static_cast<size_t>(i)],
                        weight * r.dlogits.magnitude[static_cast<size_t>(i)]);
        }
        EXPECT_TRUE(close(out[0], loss, {.terms = static_cast<double>(rows + 2 * classes) + 8}));
        if (want_gradient) {
          EXPECT_TRUE(close(out[2], dlogits, {.terms = static_cast<double>(classes) + 8},
                            {lanes, rows, classes}));
        }
      }
}
INSTANTIATE_TEST_SUITE_P(Sizes, CrossEntropy,
                         testing::Values(Size{1, 1, 1}, Size{1, 1, 2}, Size{2, 3, 10},
                                         Size{2, 31, 33}, Size{1, 64, 1000}, Size{2, 128, 40}),
                         testing::PrintToStringParamName());

/// Rows whose logits are far apart or huge: no overflow, no NaN, and the gradient stays a
/// difference of distributions.
TEST(CrossEntropyExtremes, LogitsBeyondExp) {
  const Buffer logits(DType::kF32, {1000, 0, -1000, -1000, 1000, 0, 1e7, 1e7, 1e7});
  const std::vector<int32_t> labels{0, 0, 2};
  Buffer loss(DType::kF32, 1), hits(DType::kI32, 1), dlogits(DType::kF32, 9);
  kernels::cross_entropy(stream(), {.rows = 3,
                                    .classes = 3,
                                    .logits = logits.read_as<float>(),
                                    .labels = labels,
                                    .loss = loss.write_as<float>(),
                                    .hits = hits.write_as<int32_t>(),
                                    .dlogits = dlogits.write_as<float>()});
  EXPECT_FLOAT_EQ(loss.read_as<float>()[0], static_cast<float>((2000 + std::log(3.0)) / 3));
  EXPECT_EQ(hits[0], 1);  // of equal logits the first counts: row 2 is no hit
  const std::array<float, 9> expected{0, 0,        0,        -1.0f / 3, 1.0f / 3,
                                      0, 1.0f / 9, 1.0f / 9, -2.0f / 9};
  for (size_t i = 0; i < 9; ++i) EXPECT_FLOAT_EQ(dlogits.read_as<float>()[i], expected[i]) << i;
}

TEST(CrossEntropyErrors, LabelOutOfRange) {
  const Buffer logits(DType::kF32, {0, 0, 0});
  for (int32_t label : {-1, 3}) {
    const std::vector<int32_t> labels{label};
    Buffer loss(DType::kF32, 1), hits(DType::kI32, 1);
    EXPECT_THROW(kernels::cross_entropy(stream(), {.rows = 1,
                                                   .classes = 3,
                                                   .logits = logits.read_as<float>(),
                                                   .labels = labels,
                                                   .loss = loss.write_as<float>(),
                                                   .hits = hits.write_as<int32_t>()}),
                 Error)
        << label;
  }
}

}  // namespace
}  // namespace passnorm::test
