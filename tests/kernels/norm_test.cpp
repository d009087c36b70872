// The sizes that norms are tested on, what a kind of norm is, and worked values.
#include "tests/kernels/norm_data.hpp"

namespace passnorm::test {
namespace {

using cases::NormCase;
using kernels::NormActivation;
using kernels::NormGeometry;
using kernels::NormKind;

INSTANTIATE_TEST_SUITE_P(Odd, Norm, testing::ValuesIn(norm_params(cases::odd_norms())),
                         testing::PrintToStringParamName());
/// Long enough to be reduced in parts, and divided by nothing.
const NormCase kLong{"long", 2, 1031, 65, 13};
INSTANTIATE_TEST_SUITE_P(Large, Norm,
                         testing::ValuesIn(std::vector<NormParam>{
                             {NormKind::kBatch, kLong, DType::kBF16},
                             {NormKind::kGroup, kLong, DType::kF32},
                             {NormKind::kBatch, cases::layer_norms(2)[2], DType::kF32}}),
                         testing::PrintToStringParamName());

/// What grids of a GPU walk over in several ways: many rows of few channels, groups wider than the
/// channels that a block's threads take side by side (with vectors and without), many small
/// samples, samples of one position.
const std::vector<NormCase> kWalks{
    {"rows", 2, 2100, 64, 16},        {"three_channels", 2, 2100, 3, 3},
    {"wide_groups", 4, 37, 512, 128}, {"wide_odd_groups", 4, 37, 99, 33},
    {"samples", 600, 5, 48, 16},      {"long_samples", 70, 40, 48, 16},
    {"positions", 64, 1, 512, 16},    {"one_sample", 2, 1024, 32, 32}};
INSTANTIATE_TEST_SUITE_P(Walks, NormWalk, testing::ValuesIn(norm_params(kWalks)),
                         testing::PrintToStringParamName());

TEST(NormGeometry, KindsAreIndexSets) {
  // n = 6 samples of s = 5 positions, 32 channels
  EXPECT_EQ(NormGeometry::of(NormKind::kBatch, 6, 5, 32, 1), (NormGeometry{1, 30, 32, 32}));
  EXPECT_EQ(NormGeometry::of(NormKind::kBatch, 6, 5, 32, 2), (NormGeometry{2, 15, 32, 32}));
  EXPECT_EQ(NormGeometry::of(NormKind::kGroup, 6, 5, 32, 1), (NormGeometry{6, 5, 32, 2}));
  EXPECT_EQ(NormGeometry::of(NormKind::kGroup, 6, 5, 32, 2), (NormGeometry{6, 5, 32, 2}));
  EXPECT_EQ(NormGeometry::of(NormKind::kInstance, 6, 5, 32, 1), (NormGeometry{6, 5, 32, 32}));
  EXPECT_EQ(NormGeometry::of(NormKind::kLayer, 6, 5, 32, 2), (NormGeometry{6, 5, 32, 1}));
}

TEST(NormGeometry, WhatDoesNotDivide) {
  EXPECT_THROW(NormGeometry::of(NormKind::kGroup, 2, 3, 33, 1),
               Error);  // two groups of 16 and one channel
  EXPECT_THROW(NormGeometry::of(NormKind::kGroup, 2, 3, 8, 1), Error);  // half a group
  EXPECT_THROW(NormGeometry::of(NormKind::kBatch, 3, 3, 8, 2),
               Error);  // two lanes of one and a half samples
}

/// Batch norm in training on one channel [1, 2, 3, 6], scale 2, shift -0.5, relu; two steps of
/// running statistics.
TEST(NormWorkedValues, BatchNormTraining) {
  const Buffer x(DType::kF32, {1, 2, 3, 6}), scale(DType::kF32, std::vector{2.0}),
      shift(DType::kF32, std::vector{-0.5});
  Buffer mean(DType::kF32, 1), rstd(DType::kF32, 1), var(DType::kF32, 1), xhat(DType::kF32, 4),
      y(DType::kF32, 4);
  Buffer running_mean(DType::kF32, std::vector{0.0}), running_var(DType::kF32, std::vector{1.0});
  const NormGeometry geometry = NormGeometry::of(NormKind::kBatch, 4, 1, 1, 1);
  kernels::norm_statistics(stream(), {.geometry = geometry,
                                      .x = x.read(),
                                      .mean = mean.write_as<float>(),
                                      .rstd = rstd.write_as<float>(),
                                      .var = var.write_as<float>(),
                                      .eps = kEps});
  EXPECT_FLOAT_EQ(mean.read_as<float>()[0], 3.0f);
  EXPECT_FLOAT_EQ(var.read_as<float>()[0], 3.5f);
  const kernels::NormLane plain{mean.read_as<float>(), rstd.read_as<float>(), {}, {}};
  const kernels::NormLane affine{mean.read_as<float>(), rstd.read_as<float>(),
                                 scale.read_as<float>(), shift.read_as<float>()};
  kernels::norm_apply(stream(), {.geometry = geometry,
                                 .x = x.read(),
                                 .residual = {},
                                 .lane = {plain, {}},
                                 .y = xhat.write()});
  kernels::norm_apply(stream(), {.geometry = geometry,
                                 .activation = NormActivation::kRelu,
                                 .x = x.read(),
                                 .residual = {},
                                 .lane = {affine, {}},
                                 .y = y.write()});
  const std::array<float, 4> xhat_expected{-1.0690434404f, -0.5345217202f, 0, 1.6035651607f},
      y_expected{0, 0, 0, 2.7071303213f};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(xhat.read_as<float>()[i], xhat_expected[i]);
    EXPECT_FLOAT_EQ(y.read_as<float>()[i], y_expected[i]);
  }
  const std::array<float, 2> running_mean_expected{0.3f, 0.57f},
      running_var_expected{1.3666667f, 1.6966667f};
  for (size_t step = 0; step < 2; ++step) {
    kernels::norm_update_running(stream(), {.channels = 1,
                                            .count = 4,
                                            .mean = mean.read_as<float>(),
                                            .var = var.read_as<float>(),
                                            .running_mean = running_mean.write_as<float>(),
                                            .running_var = running_var.write_as<float>(),
                                            .momentum = 0.1f});
    EXPECT_FLOAT_EQ(running_mean.read_as<float>()[0], running_mean_expected[step]);
    EXPECT_FLOAT_EQ(running_var.read_as<float>()[0], running_var_expected[step]);
  }
}

}  // namespace
}  // namespace passnorm::test
