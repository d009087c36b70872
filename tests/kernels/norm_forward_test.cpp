// Statistics, running averages and apply in one call.
#include "tests/kernels/norm_data.hpp"

namespace passnorm::test {
namespace {

using kernels::NormActivation;
using kernels::NormKind;
using kernels::NormVariant;
using reference::Sums;

/// The statistics that a call took in place of the data's own.
reference::Affines with_statistics(reference::Affines a, const Buffer& mean, const Buffer& rstd) {
  for (reference::Affine& lane : a) lane.mean = mean.values(), lane.rstd = rstd.values();
  return a;
}

/// Statistics, running averages and apply by the statistics.
TEST_P(Norm, Forward) {
  for (NormVariant variant : kVariants)
    for (NormMode mode : kModes)
      for (NormActivation activation : kActivations) {
        const NormData d(GetParam(), mode, true);
        // Each half of a split batch moves averages of its own, or both the same one after the
        // other.
        const bool batch = GetParam().kind == NormKind::kBatch, split = mode == NormMode::kSplit,
                   same = activation == NormActivation::kIdentity;
        const float momentum = 0.25f;
        const std::vector<double> before = uniform(d.norm.c, 5, 0.5, 2);
        for (int64_t residual_size : residual_sizes(d.norm)) {
          SCOPED_TRACE(testing::Message()
                       << name_of(variant) << ", " << kModeNames[static_cast<size_t>(mode)] << ", "
                       << kActivationNames[static_cast<size_t>(activation)] << ", residual "
                       << residual_size << " of " << d.norm.y_size());
          const Buffer residual(dtype(), uniform(residual_size, 2));
          const auto out = on_every_stream([&](TestStream& s) -> std::vector<Buffer> {
            Buffer mean(DType::kF32, d.norm.sets()), rstd(DType::kF32, d.norm.sets()),
                var(DType::kF32, d.norm.sets()), y(dtype(), d.norm.y_size());
            std::array<Buffer, 2> running_mean, running_var;
            for (size_t i = 0; i < 2; ++i)
              running_mean[i] = Buffer(DType::kF32, before),
              running_var[i] = Buffer(DType::kF32, before);
            kernels::NormForward a{.statistics = {.geometry = d.geometry,
                                                  .x = d.x.read(),
                                                  .mean = mean.write_as<float>(),
                                                  .rstd = rstd.write_as<float>(),
                                                  .var = var.write_as<float>(),
                                                  .eps = kEps},
                                   .apply = {.geometry = d.geometry,
                                             .lanes = static_cast<int>(d.norm.lanes),
                                             .fork = d.norm.fork,
                                             .activation = activation,
                                             .x = d.x.read(),
                                             .residual = residual.read(),
                                             .lane = d.lanes(),
                                             .y = y.write()},
                                   .variant = variant};
            for (kernels::NormLane& lane : a.apply.lane)
              lane.mean = a.statistics.mean, lane.rstd = a.statistics.rstd;
            for (size_t i = 0; batch && i < (split ? 2 : 1); ++i) {
              const size_t to = same ? 0 : i, c = static_cast<size_t>(d.norm.c);
              a.running[i] = {.channels = d.norm.c,
                              .count = d.geometry.group_size(),
                              .mean = a.statistics.mean.subspan(i * c, c),
                              .var = a.statistics.var.subspan(i * c, c),
                              .running_mean = running_mean[to].write_as<float>(),
                              .running_var = running_var[to].write_as<float>(),
                              .momentum = momentum};
            }
            if (variant == NormVariant::kOneRead && !fits_one_read(s, a)) return {};
            kernels::norm_forward(s, a);
            return list(std::move(mean), std::move(rstd), std::move(var), std::move(y),
                        std::move(running_mean[0]), std::move(running_var[0]),
                        std::move(running_mean[1]), std::move(running_var[1]));
          });
          if (out.empty()) continue;
          expect_statistics(d, d.x, out[0], out[1], out[2]);
          const Sums y = reference::norm_apply(
              d.norm, static_cast<reference::Activation>(activation), d.x.values(),
              residual.values(), with_statistics(d.affines(), out[0], out[1]));
          EXPECT_TRUE(close(out[3], y, {.terms = 6}, {d.norm.y_samples(), d.norm.s, d.norm.c}));
          const double m = static_cast<double>(d.geometry.group_size());
          const std::vector<double> start = Buffer(DType::kF32, before).values();
          for (size_t to = 0; to < 2; ++to) {
            std::vector<double> running_mean = start, running_var = start;
            int updates = 0;
            for (size_t i = 0; batch && i < (split ? 2 : 1); ++i) {
              if ((same ? 0 : i) != to) continue;
              std::vector<double> mean, var;
              for (int64_t c = 0; c < d.norm.c; ++c) {
                const int64_t at = static_cast<int64_t>(i) * d.norm.c + c;
                mean.push_back(out[0][at]), var.push_back(out[2][at] * (m > 1 ? m / (m - 1) : 1));
              }
              running_mean = reference::running_average(running_mean, mean, momentum).value;
              running_var = reference::running_average(running_var, var, momentum).value;
              ++updates;
            }
            const auto expect = [&](const Buffer& got, const std::vector<double>& expected) {
              Sums sums(d.norm.c);
              for (int64_t c = 0; c < d.norm.c; ++c) {
                const double value = expected[static_cast<size_t>(c)];
                sums.add(c, value, std::abs(value) + std::abs(start[static_cast<size_t>(c)]) + 4);
              }
              EXPECT_TRUE(close(got, sums, {.terms = 5.0 * updates})) << "averages " << to;
            };
            expect(out[4 + 2 * to], running_mean);
            expect(out[5 + 2 * to], running_var);
          }
        }
      }
}

/// A residual with a norm of its own.
TEST_P(Norm, ForwardAlsoToTheResidual) {
  for (NormVariant variant : kVariants)
    for (const Added& added : kAdded) {
      SCOPED_TRACE(testing::Message()
                   << name_of(variant) << ", " << kModeNames[static_cast<size_t>(added.mode)]
                   << ", residual " << kModeNames[static_cast<size_t>(added.residual)]);
      const NormData d(GetParam(), added.mode, true),
          r = data_of_residual(GetParam(), added, true, false);
      const auto out = on_every_stream([&](TestStream& s) -> std::vector<Buffer> {
        Buffer mean(DType::kF32, d.norm.sets()), rstd(DType::kF32, d.norm.sets()),
            y(dtype(), d.norm.y_size());
        kernels::NormForward a{.statistics = {.geometry = d.geometry,
                                              .x = d.x.read(),
                                              .mean = mean.write_as<float>(),
                                              .rstd = rstd.write_as<float>(),
                                              .eps = kEps},
                               .apply = apply_to_both(d, r, NormActivation::kRelu, y.write()),
                               .variant = variant};
        for (kernels::NormLane& lane : a.apply.lane)
          lane.mean = a.statistics.mean, lane.rstd = a.statistics.rstd;
        if (variant == NormVariant::kOneRead && !fits_one_read(s, a)) return {};
        kernels::norm_forward(s, a);
        return list(std::move(mean), std::move(rstd), std::move(y));
      });
      if (out.empty()) continue;
      const Sums expected = reference::norm_apply(
          d.norm, reference::Activation::kRelu, d.x.values(),
          with_statistics(d.affines(), out[0], out[1]), r.norm, r.x.values(), r.affines());
      EXPECT_TRUE(close(out[2], expected, {.terms = 10}, {d.norm.y_samples(), d.norm.s, d.norm.c}));
    }
}

}  // namespace
}  // namespace passnorm::test
