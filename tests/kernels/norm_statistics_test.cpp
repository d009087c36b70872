// Mean, variance and what is kept of them.
#include "tests/kernels/norm_data.hpp"

namespace passnorm::test {
namespace {

using kernels::NormVariant;
using reference::Sums;

void check_statistics(const NormParam& param) {
  const DType dtype = param.dtype;
  for (NormVariant variant : kVariants)
    for (NormMode mode : {NormMode::kOne, NormMode::kSplit})
      for (const auto& [offset, drift] : {std::pair{0.0, 0.0}, {0.0, 4.0}, {1000.0, 0.0}}) {
        // Far from 0, sums of squares would cancel; 16-bit types cannot hold such numbers.
        if (offset != 0 && dtype != DType::kF32) continue;
        for (bool with_var : {true, false}) {
          SCOPED_TRACE(testing::Message()
                       << name_of(variant) << ", " << kModeNames[static_cast<size_t>(mode)]
                       << ", offset " << offset << ", drift " << drift << ", var " << with_var);
          const NormData d(param, mode, false);
          std::vector<double> values = d.x.values();
          // A drift makes parts of a set differ in their means: most of the variance lies between
          // them.
          // Sets differ in their offsets.
          const size_t channels = static_cast<size_t>(d.norm.c),
                       groups = static_cast<size_t>(d.geometry.groups);
          for (size_t i = 0; i < values.size(); ++i)
            values[i] += offset * static_cast<double>(1 + i % channels / (channels / groups) % 3) +
                         drift * static_cast<double>(i) / static_cast<double>(values.size());
          const Buffer x(dtype, values);
          const auto out = on_every_stream([&](TestStream& s) -> std::vector<Buffer> {
            Buffer mean(DType::kF32, d.norm.sets()), rstd(DType::kF32, d.norm.sets()), var;
            if (with_var) var = Buffer(DType::kF32, d.norm.sets());
            const kernels::NormStatistics statistics{.geometry = d.geometry,
                                                     .x = x.read(),
                                                     .mean = mean.write_as<float>(),
                                                     .rstd = rstd.write_as<float>(),
                                                     .var = var.write_as<float>(),
                                                     .eps = kEps};
            if (variant == NormVariant::kTwoPass) {
              kernels::norm_statistics(s, statistics);
            } else {
              Buffer y(dtype, d.norm.x_size());
              const kernels::NormForward a{
                  .statistics = statistics,
                  .apply = {.geometry = d.geometry,
                            .x = statistics.x,
                            .residual = {},
                            .lane = {{{statistics.mean, statistics.rstd, {}, {}}, {}}},
                            .y = y.write()},
                  .variant = variant};
              if (!fits_one_read(s, a)) return {};
              kernels::norm_forward(s, a);
              s.synchronize();
            }
            return list(std::move(mean), std::move(rstd), std::move(var));
          });
          if (!out.empty()) expect_statistics(d, x, out[0], out[1], out[2]);
        }
      }
}

TEST_P(Norm, Statistics) { check_statistics(GetParam()); }
TEST_P(NormWalk, Statistics) { check_statistics(GetParam()); }

TEST(NormUpdateRunning, UnbiasedVariance) {
  for (int64_t channels : {1, 31, 33, 1000})
    for (int64_t count : {1, 2, 4096}) {
      const Buffer mean(DType::kF32, uniform(channels, 1)),
          var(DType::kF32, uniform(channels, 2, 0, 4));
      const std::vector<double> mean_before = uniform(channels, 3),
                                var_before = uniform(channels, 4, 0, 4);
      const float momentum = 0.1f;
      std::vector<double> unbiased = var.values();
      if (count > 1)
        for (double& v : unbiased) v *= static_cast<double>(count) / static_cast<double>(count - 1);
      const auto out = on_every_stream([&](TestStream& s) {
        Buffer running_mean(DType::kF32, mean_before), running_var(DType::kF32, var_before);
        kernels::norm_update_running(s, {.channels = channels,
                                         .count = count,
                                         .mean = mean.read_as<float>(),
                                         .var = var.read_as<float>(),
                                         .running_mean = running_mean.write_as<float>(),
                                         .running_var = running_var.write_as<float>(),
                                         .momentum = momentum});
        return list(std::move(running_mean), std::move(running_var));
      });
      const std::vector<double> m = Buffer(DType::kF32, mean_before).values(),
                                v = Buffer(DType::kF32, var_before).values();
      EXPECT_TRUE(
          close(out[0], reference::running_average(m, mean.values(), momentum), {.terms = 4}));
      EXPECT_TRUE(close(out[1], reference::running_average(v, unbiased, momentum), {.terms = 5}))
          << "count " << count;
    }
}

TEST(NormRstd, OfRunningVariance) {
  const Buffer var(DType::kF32, {0, 1e-12, 1e-5, 0.25, 1, 3, 1e6});
  Buffer rstd(DType::kF32, var.size());
  kernels::norm_rstd(stream(),
                     {.var = var.read_as<float>(), .rstd = rstd.write_as<float>(), .eps = kEps});
  Sums expected(var.size());
  for (int64_t i = 0; i < var.size(); ++i) expected.add(i, 1 / std::sqrt(var[i] + kEps));
  EXPECT_TRUE(close(rstd, expected, {.terms = 3}));
}

}  // namespace
}  // namespace passnorm::test
