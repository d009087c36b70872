// Whether a step is applied, and by what its gradients are scaled.
#include <cmath>
#include <cstring>
#include <limits>

#include "bench/cases/norm.hpp"
#include "kernels/optimizer.hpp"
#include "tests/support/device_value.hpp"
#include "tests/support/fill.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(),
                kNan = std::numeric_limits<float>::quiet_NaN();

/// The state after a check of these gradients, the same in every way to run it.
kernels::UpdateState state_after(const kernels::UpdateState& before, std::span<const float> g,
                                 kernels::UpdateCheck a = {}) {
  std::vector<kernels::UpdateState> all;
  in_every_way([&](TestStream& s, const std::string& name) {
    InDeviceMemory<kernels::UpdateState> state(before);
    a.g = g;
    a.state = state.at();
    kernels::update_check(s, a);
    s.synchronize();
    all.push_back(state.get());
    EXPECT_EQ(std::memcmp(&all.front(), &all.back(), sizeof all.front()), 0) << name;
  });
  return all.front();
}

/// Whole numbers, so that the sum of squares is exact: no element is left out or counted twice.
TEST(UpdateCheck, NormOfEveryLength) {
  std::vector<int64_t> lengths = cases::lengths();
  lengths.push_back(2100224);  // as many blocks as there can be
  for (int64_t n : lengths) {
    const int64_t arena = n + (n % 4 == 0 ? 0 : 4 - n % 4);
    std::vector<double> values = whole(arena, 1, 3);
    double sum = 0;
    for (int64_t i = 0; i < arena; ++i) {
      double& v = values[static_cast<size_t>(i)];
      v = i < n ? v + 1 : std::numeric_limits<double>::quiet_NaN();
      if (i < n) sum += v * v;
    }
    ASSERT_LT(sum, 0x1p24);
    const Buffer g(DType::kF32, values);
    const kernels::UpdateState s = state_after({.loss_scale = 8, .updates = 41, .good_steps = 7},
                                               g.read_as<float>().first(static_cast<size_t>(n)));
    EXPECT_EQ(s.gradient_norm, static_cast<float>(std::sqrt(sum)) / 8) << "n " << n;
    EXPECT_EQ(s.g_scale, 0.125f);
    EXPECT_EQ(s.apply, 1);
    EXPECT_EQ(s.updates, 42);
    EXPECT_EQ(s.loss_scale, 8);
    EXPECT_EQ(s.good_steps, 7);
  }
}

TEST(UpdateCheck, ClipsLargeGradients) {
  const Buffer g(DType::kF32, {48, -64});
  const auto scale = [&](float clip) {
    return state_after({.loss_scale = 4}, g.read_as<float>(), {.clip_norm = clip}).g_scale;
  };
  EXPECT_EQ(scale(0), 0.25f);   // no limit
  EXPECT_EQ(scale(20), 0.25f);  // the norm is 20
  EXPECT_EQ(scale(21), 0.25f);
  EXPECT_EQ(scale(5), 0.0625f);
}

TEST(UpdateCheck, NormOfLargeGradients) {
  const Buffer large(DType::kF32, {3e30, 4e30}), too_large(DType::kF32, {3e38, 3e38});
  const kernels::UpdateState s = state_after({}, large.read_as<float>(), {.clip_norm = 1});
  EXPECT_FLOAT_EQ(s.gradient_norm, 5e30f);
  EXPECT_FLOAT_EQ(s.g_scale, 2e-31f);
  EXPECT_EQ(s.apply, 1);
  EXPECT_EQ(state_after({}, too_large.read_as<float>()).apply, 0);
}

TEST(UpdateCheck, RefusesGradientsThatAreNotFinite) {
  for (int64_t n : {1, 5000})
    for (int64_t at : {int64_t{0}, n / 2, n - 1})
      for (float bad : {kInfinity, -kInfinity, kNan}) {
        std::vector<double> values = uniform(n, 1);
        values[static_cast<size_t>(at)] = static_cast<double>(bad);
        const Buffer g(DType::kF32, values);
        const kernels::UpdateState s =
            state_after({.updates = 3}, g.read_as<float>(), {.clip_norm = 1});
        EXPECT_EQ(s.apply, 0) << bad << " at " << at << " of " << n;
        EXPECT_FALSE(std::isfinite(s.gradient_norm));
        EXPECT_EQ(s.updates, 3);
      }
}

TEST(UpdateCheck, RefusesLossesThatAreNotFinite) {
  const Buffer g(DType::kF32, {3, 4}), good(DType::kF32, uniform(300, 1));
  for (float bad : {kInfinity, kNan}) {
    std::vector<double> values = good.values();
    values[290] = static_cast<double>(bad);
    const Buffer losses(DType::kF32, values);
    for (size_t which : {0, 1}) {
      kernels::UpdateCheck a{.losses = {good.read_as<float>(), good.read_as<float>()}};
      EXPECT_EQ(state_after({}, g.read_as<float>(), a).apply, 1);
      a.losses[which] = losses.read_as<float>();
      const kernels::UpdateState s = state_after({.updates = 3}, g.read_as<float>(), a);
      EXPECT_EQ(s.apply, 0) << bad << " among losses " << which;
      EXPECT_EQ(s.gradient_norm, 5);
      EXPECT_EQ(s.updates, 3);
    }
  }
}

/// Three good steps double the loss scale, one bad step halves it, within [1, 2^24].
TEST(UpdateCheck, LossScaleGrowsAndHalves) {
  const Buffer good(DType::kF32, std::vector{1.0}),
      bad(DType::kF32, std::vector{static_cast<double>(kNan)});
  kernels::UpdateState s{.loss_scale = 4};
  const auto steps = [&](const Buffer& g, int count) {
    for (int i = 0; i < count; ++i) s = state_after(s, g.read_as<float>(), {.growth_interval = 3});
    return s.loss_scale;
  };
  EXPECT_EQ(steps(good, 2), 4);
  EXPECT_EQ(s.good_steps, 2);
  EXPECT_EQ(steps(bad, 1), 2);  // and the row starts again
  EXPECT_EQ(s.good_steps, 0);
  EXPECT_EQ(steps(good, 2), 2);
  EXPECT_EQ(s.g_scale, 0.5f);
  EXPECT_EQ(steps(good, 1), 4);
  EXPECT_EQ(s.g_scale, 0.5f);  // of this step, whose losses had the old factor
  EXPECT_EQ(s.good_steps, 0);
  EXPECT_EQ(s.updates, 5);
  EXPECT_EQ(steps(bad, 2), 1);
  EXPECT_EQ(steps(bad, 2), 1);
  EXPECT_EQ(s.updates, 5);
  s.loss_scale = 0x1p23f;
  EXPECT_EQ(steps(good, 3), 0x1p24f);
  EXPECT_EQ(steps(good, 3), 0x1p24f);
}

}  // namespace
}  // namespace passnorm::test
