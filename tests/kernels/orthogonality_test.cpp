#include "kernels/orthogonality.hpp"

#include "tests/reference/orthogonality.hpp"
#include "tests/support/device_value.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

using kernels::OrthogonalityForm;

struct Size {
  int64_t lanes, rows, size;
};
void PrintTo(const Size& z, std::ostream* out) {
  *out << "lanes" << z.lanes << "_rows" << z.rows << "_size" << z.size;
}

class OrthogonalityLoss : public testing::TestWithParam<Size> {};

TEST_P(OrthogonalityLoss, LossAndGradient) {
  const auto [lanes, rows, size] = GetParam();
  const int64_t lane_size = rows * size * size;
  constexpr float kAlpha = 0.25f, kWeight = 8, kScale = 4;  // powers of two: exact
  const Buffer t(DType::kF32, uniform(lanes * lane_size, 1)),
      before(DType::kF32, uniform(lanes * lane_size, 2));
  for (const OrthogonalityForm form : {OrthogonalityForm::kGram, OrthogonalityForm::kTimesGram}) {
    const bool times_gram = form == OrthogonalityForm::kTimesGram;
    reference::Sums loss(lanes), dt(t.size());
    const std::vector<double> all = t.values();
    for (int64_t l = 0; l < lanes; ++l) {
      const reference::Orthogonality one = reference::orthogonality(
          rows, size,
          std::vector<double>(all.begin() + l * lane_size, all.begin() + (l + 1) * lane_size),
          times_gram);
      loss.add(l, kAlpha * one.loss, kAlpha * one.loss_magnitude);
      for (int64_t i = 0; i < lane_size; ++i)
        dt.add(l * lane_size + i, kAlpha * kWeight * kScale * one.dt.value[static_cast<size_t>(i)],
               kAlpha * kWeight * kScale * one.dt.magnitude[static_cast<size_t>(i)]);
    }
    // A product, the squares of its elements, another product, and the mean.
    const Bound bound{.terms = static_cast<double>(2 * size + size * size + rows) + 8};
    for (const bool accumulate : {false, true}) {
      if (accumulate) dt += before.values();
      const auto out = on_every_stream([&, n = lanes, r = rows, j = size](TestStream& s) {
        Buffer losses(DType::kF32, n);
        Buffer to =
            accumulate ? Buffer(DType::kF32, before.values()) : Buffer(DType::kF32, t.size());
        kernels::orthogonality_loss(s, {.lanes = n,
                                        .rows = r,
                                        .size = j,
                                        .t = t.read_as<float>(),
                                        .form = form,
                                        .alpha = kAlpha,
                                        .weight = kWeight,
                                        .loss_scale = kScale,
                                        .loss = losses.write_as<float>(),
                                        .dt = to.write_as<float>(),
                                        .accumulate = accumulate});
        return list(std::move(losses), std::move(to));
      });
      EXPECT_TRUE(close(out[0], loss, bound));
      EXPECT_TRUE(close(out[1], dt, bound, {lanes, rows, size, size}))
          << "times_gram " << times_gram << ", accumulate " << accumulate;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, OrthogonalityLoss,
                         testing::Values(Size{1, 1, 1}, Size{1, 2, 2}, Size{2, 5, 3},
                                         Size{1, 3, 31}, Size{2, 2, 33}, Size{2, 3, 64},
                                         Size{1, 300, 2}, Size{3, 2, 17}),
                         testing::PrintToStringParamName());

double loss_of(OrthogonalityForm form, const std::vector<double>& t, int64_t size) {
  const Buffer in(DType::kF32, t);
  Buffer loss(DType::kF32, 1);
  kernels::orthogonality_loss(stream(), {.rows = in.size() / (size * size),
                                         .size = size,
                                         .t = in.read_as<float>(),
                                         .form = form,
                                         .alpha = 1,
                                         .loss = loss.write_as<float>()});
  return loss[0];
}

/// Computed by hand: |T T' - I| and |T (T' - I)| of three 2 x 2 matrices.
TEST(OrthogonalityWorked, TwoByTwo) {
  constexpr auto kGram = OrthogonalityForm::kGram, kTimesGram = OrthogonalityForm::kTimesGram;
  EXPECT_NEAR(loss_of(kTimesGram, {1, .1, 0, 1}, 2), .1004987562, 1e-7);
  EXPECT_NEAR(loss_of(kGram, {1, .1, 0, 1}, 2), .1417744688, 1e-7);
  EXPECT_NEAR(loss_of(kTimesGram, {2, 0, 0, 2}, 2), 2.8284271247, 3e-7);
  EXPECT_NEAR(loss_of(kGram, {2, 0, 0, 2}, 2), 4.2426406871, 5e-7);
  EXPECT_EQ(loss_of(kTimesGram, {0, 0, 0, 0}, 2), 0);
  EXPECT_NEAR(loss_of(kGram, {0, 0, 0, 0}, 2), 1.4142135624, 2e-7);
  EXPECT_NEAR(loss_of(kGram, {0, 0, 0, 0, 2, 0, 0, 2}, 2), (1.4142135624 + 4.2426406871) / 2, 4e-7);
}

/// The norm has no derivative at 0: there the gradient is 0, and what was there stays.
TEST(OrthogonalityWorked, NothingIsWrongWithRotations) {
  const Buffer t(DType::kF32, {0, 1, 0, 0, 0, -1, 1, 0, 0}), before(DType::kF32, uniform(9, 1));
  for (const bool accumulate : {false, true}) {
    const auto out = on_every_stream([&](TestStream& s) {
      Buffer loss(DType::kF32, 1);
      Buffer dt = accumulate ? Buffer(DType::kF32, before.values()) : Buffer(DType::kF32, 9);
      kernels::orthogonality_loss(s, {.rows = 1,
                                      .size = 3,
                                      .t = t.read_as<float>(),
                                      .loss = loss.write_as<float>(),
                                      .dt = dt.write_as<float>(),
                                      .accumulate = accumulate});
      return list(std::move(loss), std::move(dt));
    });
    EXPECT_EQ(out[0][0], 0);
    EXPECT_TRUE(equal(out[1], accumulate ? before.values() : std::vector<double>(9, 0.0)));
  }
}

/// weight and loss_scale are factors of the gradient alone; the scale is read when the kernel runs.
TEST(OrthogonalityScale, IsReadOnTheDevice) {
  const Buffer t(DType::kF32, uniform(18, 1));
  InDeviceMemory<float> scale(128.0f);
  const auto run = [&](float weight, DeviceValue<float> loss_scale) {
    Buffer loss(DType::kF32, 1), dt(DType::kF32, 18);
    kernels::orthogonality_loss(stream(), {.rows = 2,
                                           .size = 3,
                                           .t = t.read_as<float>(),
                                           .weight = weight,
                                           .loss_scale = loss_scale,
                                           .loss = loss.write_as<float>(),
                                           .dt = dt.write_as<float>()});
    return list(std::move(loss), std::move(dt));
  };
  const auto plain = run(1, 1.0f), scaled = run(0.5f, scale.at());
  EXPECT_TRUE(same_bits(scaled[0], plain[0]));
  for (int64_t i = 0; i < 18; ++i) EXPECT_EQ(scaled[1][i], 64 * plain[1][i]) << i;
}

TEST(OrthogonalityErrors, Sizes) {
  const Buffer t(DType::kF32, uniform(65 * 65, 1));
  Buffer loss(DType::kF32, 1);
  const auto run = [&](int64_t rows, int64_t size, size_t elements) {
    kernels::orthogonality_loss(stream(), {.rows = rows,
                                           .size = size,
                                           .t = t.read_as<float>().first(elements),
                                           .loss = loss.write_as<float>()});
  };
  EXPECT_NO_THROW(run(1, 64, 64 * 64));
  EXPECT_THROW(run(1, 65, 65 * 65), Error);
  EXPECT_THROW(run(2, 2, 7), Error);
  EXPECT_THROW(run(0, 2, 0), Error);
}

}  // namespace
}  // namespace passnorm::test
