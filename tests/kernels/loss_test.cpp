#include "kernels/loss.hpp"

#include "tests/reference/loss.hpp"
#include "tests/support/device_value.hpp"
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
  std::vector<double> on_device;
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < rows; ++i)
    on_device.push_back(labels.emplace_back(static_cast<int32_t>((7 * i + 3) % classes)));
  const Buffer label_buffer(DType::kI32, on_device);
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
                                     .labels = label_buffer.read_as<int32_t>(),
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
                                         Size{2, 31, 33}, Size{1, 64, 1000}, Size{2, 128, 40},
                                         Size{3, 301, 5}),
                         testing::PrintToStringParamName());

/// Rows whose logits are far apart or huge: no overflow, no NaN, and the gradient stays a
/// difference of distributions.
TEST(CrossEntropyExtremes, LogitsBeyondExp) {
  const Buffer logits(DType::kF32, {1000, 0, -1000, -1000, 1000, 0, 1e7, 1e7, 1e7});
  const Buffer labels(DType::kI32, {0, 0, 2});
  Buffer loss(DType::kF32, 1), hits(DType::kI32, 1), dlogits(DType::kF32, 9);
  kernels::cross_entropy(stream(), {.rows = 3,
                                    .classes = 3,
                                    .logits = logits.read_as<float>(),
                                    .labels = labels.read_as<int32_t>(),
                                    .loss = loss.write_as<float>(),
                                    .hits = hits.write_as<int32_t>(),
                                    .dlogits = dlogits.write_as<float>()});
  EXPECT_FLOAT_EQ(loss.read_as<float>()[0], static_cast<float>((2000 + std::log(3.0)) / 3));
  EXPECT_EQ(hits[0], 1);  // of equal logits the first counts: row 2 is no hit
  const std::array<float, 9> expected{0, 0,        0,        -1.0f / 3, 1.0f / 3,
                                      0, 1.0f / 9, 1.0f / 9, -2.0f / 9};
  for (size_t i = 0; i < 9; ++i) EXPECT_FLOAT_EQ(dlogits.read_as<float>()[i], expected[i]) << i;
}

/// Equal largest logits in any two places: the first counts, also when it is not the very first.
TEST(CrossEntropyExtremes, FirstOfEqualLogits) {
  constexpr int64_t kClasses = 70;
  const std::vector<std::pair<size_t, size_t>> pairs{{1, 2}, {2, 33}, {5, 37}, {0, 69}, {31, 32}};
  std::vector<double> values(pairs.size() * kClasses), first;
  for (size_t i = 0; i < pairs.size(); ++i) {
    values[i * kClasses + pairs[i].first] = values[i * kClasses + pairs[i].second] = 3;
    first.push_back(static_cast<double>(pairs[i].first));
  }
  const Buffer logits(DType::kF32, values), labels(DType::kI32, first);
  Buffer loss(DType::kF32, 1), hits(DType::kI32, 1);
  kernels::cross_entropy(stream(), {.rows = static_cast<int64_t>(pairs.size()),
                                    .classes = kClasses,
                                    .logits = logits.read_as<float>(),
                                    .labels = labels.read_as<int32_t>(),
                                    .loss = loss.write_as<float>(),
                                    .hits = hits.write_as<int32_t>()});
  EXPECT_EQ(hits[0], static_cast<double>(pairs.size()));
}

/// What std::max_element says: a NaN is never larger, and the largest where it comes first. All of
/// a row's gradient is NaN, and its lane's loss; other rows and lanes do not notice.
TEST(CrossEntropyExtremes, Nan) {
  const double nan = std::nan("");
  const Buffer logits(DType::kF32, {nan, 5, 1, 0, 1, nan, 2, 1, 0, 2, 1, 0});
  const Buffer labels(DType::kI32, {0, 1});
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer loss(DType::kF32, 2), hits(DType::kI32, 2), dlogits(DType::kF32, 12);
    kernels::cross_entropy(s, {.lanes = 2,
                               .rows = 2,
                               .classes = 3,
                               .logits = logits.read_as<float>(),
                               .labels = labels.read_as<int32_t>(),
                               .loss = loss.write_as<float>(),
                               .hits = hits.write_as<int32_t>(),
                               .dlogits = dlogits.write_as<float>()});
    return list(std::move(loss), std::move(hits), std::move(dlogits));
  });
  EXPECT_TRUE(std::isnan(out[0][0]));
  EXPECT_FALSE(std::isnan(out[0][1]));
  EXPECT_EQ(out[1].values(), (std::vector<double>{2, 1}));
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(std::isnan(out[2][i]), i < 6) << i;
}

/// weight and loss_scale are factors of the gradient alone, and loss_scale is read when the kernel
/// runs. Powers of two: exact.
TEST(CrossEntropyScale, IsReadOnTheDevice) {
  const Buffer logits(DType::kF32, uniform(40, 1)), labels(DType::kI32, {3, 0, 9, 1});
  InDeviceMemory<float> scale(128.0f);
  const auto run = [&](float weight, DeviceValue<float> loss_scale) {
    Buffer loss(DType::kF32, 1), hits(DType::kI32, 1), dlogits(DType::kF32, 40);
    kernels::cross_entropy(stream(), {.rows = 4,
                                      .classes = 10,
                                      .logits = logits.read_as<float>(),
                                      .labels = labels.read_as<int32_t>(),
                                      .weight = weight,
                                      .loss_scale = loss_scale,
                                      .loss = loss.write_as<float>(),
                                      .hits = hits.write_as<int32_t>(),
                                      .dlogits = dlogits.write_as<float>()});
    return list(std::move(loss), std::move(dlogits));
  };
  const auto plain = run(1, 1.0f), scaled = run(0.5f, scale.at()), given = run(0.5f, 128.0f);
  EXPECT_TRUE(same_bits(scaled[0], plain[0]));
  EXPECT_TRUE(same_bits(scaled[1], given[1]));
  for (int64_t i = 0; i < 40; ++i) EXPECT_EQ(scaled[1][i], 64 * plain[1][i]) << i;
}

/// The data has other classes than the model. A GPU's host cannot see it: the step that follows is
/// refused for its NaN. Labels far off would be read far off.
TEST(CrossEntropyErrors, LabelOutOfRange) {
  const Buffer logits(DType::kF32, uniform(12, 1));
  for (int32_t label : {-1, 3, INT32_MIN, INT32_MAX}) {
    const Buffer labels(DType::kI32, {1, static_cast<double>(label)});
    Buffer loss(DType::kF32, 2), hits(DType::kI32, 2), dlogits(DType::kF32, 12);
    const auto run = [&] {
      kernels::cross_entropy(stream(), {.lanes = 2,
                                        .rows = 2,
                                        .classes = 3,
                                        .logits = logits.read_as<float>(),
                                        .labels = labels.read_as<int32_t>(),
                                        .loss = loss.write_as<float>(),
                                        .hits = hits.write_as<int32_t>(),
                                        .dlogits = dlogits.write_as<float>()});
    };
    if (stream().device().kind == Device::Kind::kCpu) {
      EXPECT_THROW(run(), Error) << label;
      continue;
    }
    run();
    for (int64_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(std::isnan(loss[i])) << label;
      EXPECT_LE(hits[i], 1) << label;
    }
    for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(std::isnan(dlogits[i]), i % 6 >= 3) << label;
  }
}

}  // namespace
}  // namespace passnorm::test
