// What is made of given statistics.
#include "tests/kernels/norm_data.hpp"

namespace passnorm::test {
namespace {

using kernels::NormActivation;
using kernels::NormKind;
using reference::Sums;

TEST_P(Norm, Apply) {
  for (NormMode mode : kModes)
    for (bool affine : {true, false})
      for (NormActivation activation : kActivations)
        for (bool statistics_of_lane : {false, true}) {
          if (statistics_of_lane && mode == NormMode::kOne) continue;
          const NormData d(GetParam(), mode, affine, statistics_of_lane);
          for (int64_t residual_size : residual_sizes(d.norm)) {
            SCOPED_TRACE(testing::Message()
                         << kModeNames[static_cast<size_t>(mode)] << ", "
                         << kActivationNames[static_cast<size_t>(activation)] << ", affine "
                         << affine << ", residual " << residual_size << " of " << d.norm.y_size()
                         << ", own statistics " << statistics_of_lane);
            const Buffer residual(dtype(), uniform(residual_size, 2));
            const auto out = on_every_stream([&](TestStream& s) {
              Buffer y(dtype(), d.norm.y_size());
              kernels::norm_apply(s, {.geometry = d.geometry,
                                      .lanes = static_cast<int>(d.norm.lanes),
                                      .fork = d.norm.fork,
                                      .activation = activation,
                                      .x = d.x.read(),
                                      .residual = residual.read(),
                                      .lane = d.lanes(),
                                      .y = y.write()});
              return list(std::move(y));
            });
            const Sums expected =
                reference::norm_apply(d.norm, static_cast<reference::Activation>(activation),
                                      d.x.values(), residual.values(), d.affines());
            EXPECT_TRUE(
                close(out[0], expected, {.terms = 6}, {d.norm.y_samples(), d.norm.s, d.norm.c}));
          }
        }
}

TEST_P(Norm, ApplyAlsoToTheResidual) {
  for (const Added& added : kAdded)
    for (bool affine : {true, false})
      for (NormActivation activation : kActivations) {
        SCOPED_TRACE(testing::Message()
                     << kModeNames[static_cast<size_t>(added.mode)] << ", residual "
                     << kModeNames[static_cast<size_t>(added.residual)] << ", "
                     << kActivationNames[static_cast<size_t>(activation)] << ", affine " << affine);
        const bool statistics_of_lane = !affine;
        const NormData d(GetParam(), added.mode, affine, statistics_of_lane),
            r = data_of_residual(GetParam(), added, affine, statistics_of_lane);
        const auto out = on_every_stream([&](TestStream& s) {
          Buffer y(dtype(), d.norm.y_size());
          kernels::norm_apply(s, apply_to_both(d, r, activation, y.write()));
          return list(std::move(y));
        });
        const Sums expected =
            reference::norm_apply(d.norm, static_cast<reference::Activation>(activation),
                                  d.x.values(), d.affines(), r.norm, r.x.values(), r.affines());
        EXPECT_TRUE(
            close(out[0], expected, {.terms = 10}, {d.norm.y_samples(), d.norm.s, d.norm.c}));
      }
}

/// In f32, to the bit, what two calls give that store the normalised residual in between.
TEST_P(Norm, ApplyAlsoToTheResidualIsTwoCalls) {
  if (dtype() != DType::kF32) return;
  for (const Added& added : kAdded)
    for (NormActivation activation : kActivations) {
      const NormData d(GetParam(), added.mode, true, true),
          r = data_of_residual(GetParam(), added, true, true);
      Buffer once(dtype(), d.norm.y_size()), residual(dtype(), r.norm.y_size()),
          twice(dtype(), d.norm.y_size());
      kernels::NormApply a = apply_to_both(d, r, activation, once.write());
      kernels::norm_apply(stream(), a);
      kernels::norm_apply(stream(), {.geometry = r.geometry,
                                     .lanes = static_cast<int>(r.norm.lanes),
                                     .fork = r.norm.fork,
                                     .x = r.x.read(),
                                     .residual = {},
                                     .lane = r.lanes(),
                                     .y = residual.write()});
      a.residual = residual.read();
      a.residual_lane = {};
      a.y = twice.write();
      kernels::norm_apply(stream(), a);
      EXPECT_EQ(once.bits(), twice.bits())
          << kModeNames[static_cast<size_t>(added.mode)] << ", residual "
          << kModeNames[static_cast<size_t>(added.residual)] << ", "
          << kActivationNames[static_cast<size_t>(activation)];
    }
}

TEST(NormApply, RefusesAResidualWhoseNormDoesNotFit) {
  const NormParam p{NormKind::kBatch, {"small", 2, 4, 8, 8}, DType::kF32};
  const Added added{NormMode::kFork, NormMode::kSplit};
  const NormData d(p, added.mode, true), r = data_of_residual(p, added, true, false);
  Buffer y(DType::kF32, d.norm.y_size());
  const kernels::NormApply fits = apply_to_both(d, r, NormActivation::kIdentity, y.write());
  EXPECT_NO_THROW(check(fits));
  const auto refuses = [&](auto&& change) {
    kernels::NormApply a = fits;
    change(a);
    EXPECT_THROW(check(a), Error);
  };
  refuses([](auto& a) { a.residual = {}; });
  refuses([](auto& a) { a.residual_lane[0] = {}; });         // only the second lane's
  refuses([](auto& a) { a.residual_lane[0] = a.lane[0]; });  // tables of half the rows
  refuses([](auto& a) { a.residual_lane[1].rstd = a.lane[1].rstd; });
  refuses([](auto& a) { a.residual_lane[1].scale = a.lane[0].scale.first(7); });
  // Half a batch is no block.
  refuses([&](auto& a) {
    a.fork = false, a.lanes = 1, a.y.size /= 2;
    a.residual.size = a.y.size / 2;
  });
}

/// The fork writes, to the bit, what two calls with one lane each write.
TEST_P(Norm, ForkIsTwoCalls) {
  const NormData d(GetParam(), NormMode::kFork, true);
  for (NormActivation activation : kActivations)
    for (bool with_residual : {false, true}) {
      const Buffer residual(dtype(), uniform(with_residual ? d.norm.x_size() : 0, 2));
      Buffer fork(dtype(), d.norm.y_size());
      kernels::norm_apply(stream(), {.geometry = d.geometry,
                                     .lanes = 2,
                                     .fork = true,
                                     .activation = activation,
                                     .x = d.x.read(),
                                     .residual = residual.read(),
                                     .lane = d.lanes(),
                                     .y = fork.write()});
      std::vector<std::byte> both;
      for (size_t l = 0; l < 2; ++l) {
        Buffer y(dtype(), d.norm.x_size());
        kernels::norm_apply(stream(), {.geometry = d.geometry,
                                       .activation = activation,
                                       .x = d.x.read(),
                                       .residual = residual.read(),
                                       .lane = {d.lanes()[l], {}},
                                       .y = y.write()});
        const auto bits = y.bits();
        both.insert(both.end(), bits.begin(), bits.end());
      }
      EXPECT_EQ(fork.bits(), both)
          << kActivationNames[static_cast<size_t>(activation)] << ", residual " << with_residual;
    }
}

TEST_P(NormWalk, Apply) {
  const NormData d(GetParam(), NormMode::kFork, true);
  const Buffer residual(dtype(), uniform(d.norm.y_size(), 2));
  const auto out = on_every_stream([&](TestStream& s) {
    Buffer y(dtype(), d.norm.y_size());
    kernels::norm_apply(s, {.geometry = d.geometry,
                            .lanes = 2,
                            .fork = true,
                            .activation = NormActivation::kRelu,
                            .x = d.x.read(),
                            .residual = residual.read(),
                            .lane = d.lanes(),
                            .y = y.write()});
    return list(std::move(y));
  });
  EXPECT_TRUE(close(out[0],
                    reference::norm_apply(d.norm, reference::Activation::kRelu, d.x.values(),
                                          residual.values(), d.affines()),
                    {.terms = 6}));
}

}  // namespace
}  // namespace passnorm::test
