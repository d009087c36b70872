#include "train/optimizer.hpp"

#include <cmath>
#include <limits>

#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"

namespace passnorm::train {
namespace {

using Kind = OptimizerOptions::Kind;

/// Two parameters, of one and of two elements; the arena has padding between them.
class OptimizerTest : public testing::Test {
 protected:
  OptimizerTest() {
    a_ = &set_.add({.name = "a", .shape = {1}, .init = Init::constant(1)});
    b_ = &set_.add({.name = "b", .shape = {2}, .init = Init::constant(2)});
    set_.allocate(stream_, 1);
  }

  void set_gradients(float a, std::vector<float> b) {
    a_->var.gradient->value.copy_from<float>(stream_, std::vector<float>{a});
    b_->var.gradient->value.copy_from<float>(stream_, b);
  }
  std::vector<float> weights() {
    auto w = a_->var.value.to_host(stream_);
    const auto b = b_->var.value.to_host(stream_);
    w.insert(w.end(), b.begin(), b.end());
    return w;
  }
  void expect_weights(std::vector<double> expected, double tolerance = 1.2e-7) {
    const auto w = weights();
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(w[i], expected[i], tolerance * std::abs(expected[i])) << i;
  }

  CpuStream stream_{2};
  ParameterSet set_;
  Parameter *a_, *b_;
};

TEST_F(OptimizerTest, SgdWithMomentumAndWeightDecay) {
  Optimizer o(stream_, set_, {.lr = 0.01f, .momentum = 0.9f, .weight_decay = 5e-4f});
  set_gradients(0.5f, {0, 0});
  o.step(1);
  // The second parameter only decays: v = wd w.
  expect_weights({0.994995, 2 - 0.01 * 0.001, 2 - 0.01 * 0.001});
  set_gradients(0.2f, {0, 0});
  o.step(1);
  const double w1 = 2 - 1e-5, v2 = 0.9 * 0.001 + 5e-4 * w1;
  expect_weights({0.988485525025, w1 - 0.01 * v2, w1 - 0.01 * v2});
  EXPECT_EQ(o.steps(), 2);
}

TEST_F(OptimizerTest, Nesterov) {
  Optimizer o(stream_, set_,
              {.lr = 0.01f, .momentum = 0.9f, .nesterov = true, .weight_decay = 5e-4f});
  double w[] = {1, 2, 2}, v[] = {0, 0, 0};
  const double gradients[2][3] = {{0.5, -1, 0}, {0.2, 3, 0.25}};
  for (const auto& g : gradients) {
    set_gradients(static_cast<float>(g[0]), {static_cast<float>(g[1]), static_cast<float>(g[2])});
    o.step(1);
    for (int i = 0; i < 3; ++i) {
      const double d = g[i] + 5e-4 * w[i];
      v[i] = 0.9 * v[i] + d;
      w[i] -= 0.01 * (d + 0.9 * v[i]);
    }
    expect_weights({w[0], w[1], w[2]});
  }
  EXPECT_NEAR(w[0], 0.98262704034025, 1e-12);
}

/// Neither gradient nor weight decay reaches them, and what they had of a gradient is no part of
/// its norm.
TEST_F(OptimizerTest, LeavesFrozenParametersAsTheyAre) {
  for (const Kind kind : {Kind::kSgd, Kind::kAdam})
    for (const bool first : {true, false}) {
      a_->var.value.copy_from<float>(stream_, std::vector<float>{1});
      b_->var.value.copy_from<float>(stream_, std::vector<float>{2, 2});
      set_.train_only(stream_, [](const TensorSpec&) { return true; });
      set_gradients(3, {4, 4});
      set_.train_only(stream_, [&](const TensorSpec& spec) { return (spec.name == "a") == first; });
      Optimizer o(stream_, set_, {.kind = kind, .lr = 0.1f, .weight_decay = 0.5f});
      Parameter& trained = first ? *a_ : *b_;
      trained.var.gradient->value.copy_from<float>(
          stream_, first ? std::vector<float>{12} : std::vector<float>{0, 12});
      EXPECT_NEAR(o.step(1).gradient_norm, 12, 1e-6);
      const auto w = weights();
      if (first) {
        EXPECT_LT(w[0], 0.95f);
        EXPECT_EQ(w[1], 2);
        EXPECT_EQ(w[2], 2);
      } else {
        EXPECT_EQ(w[0], 1);
        EXPECT_LT(w[1], 1.95f);
        EXPECT_LT(w[2], w[1] + 1e-6f);
      }
    }
}

TEST_F(OptimizerTest, SgdWithoutMomentum) {
  Optimizer o(stream_, set_, {.lr = 0.5f, .momentum = 0, .weight_decay = 0});
  set_gradients(1, {2, -4});
  o.step(1);
  o.step(1);
  expect_weights({0, 0, 6}, 0);
}

TEST_F(OptimizerTest, Adam) {
  Optimizer o(stream_, set_, {.kind = Kind::kAdam, .lr = 1e-3f, .weight_decay = 1e-4f});
  set_gradients(0.5f, {-0.5f, 0.5f});
  o.step(1);
  EXPECT_NEAR(weights()[0], 0.99900000002, 1.2e-7);
  EXPECT_NEAR(weights()[1], 2.001, 3e-7);
  set_gradients(0.2f, {-0.2f, 0.2f});
  o.step(1);
  EXPECT_NEAR(weights()[0], 0.99810137920, 1.2e-7);
}

TEST_F(OptimizerTest, TheScheduleScalesTheRate) {
  Optimizer o(stream_, set_, {.lr = 0.5f, .momentum = 0, .weight_decay = 0});
  set_gradients(1, {1, 1});
  o.step(0.25f);
  expect_weights({0.875, 1.875, 1.875}, 0);
  o.step(0);
  expect_weights({0.875, 1.875, 1.875}, 0);
}

TEST_F(OptimizerTest, ClipsTheNormOfTheWholeGradient) {
  Optimizer o(stream_, set_, {.lr = 1, .momentum = 0, .weight_decay = 0});
  set_gradients(3, {4, 12});
  EXPECT_NEAR(o.step(1, 2).gradient_norm, 13, 1e-6);  // before clipping
  expect_weights({1 - 6. / 13, 2 - 8. / 13, 2 - 24. / 13}, 1e-6);
  set_gradients(0.3f, {0.4f, 0});
  const auto before = weights();
  EXPECT_NEAR(o.step(1, 2).gradient_norm, 0.5, 1e-6);  // short enough
  EXPECT_NEAR(weights()[0], before[0] - 0.3f, 1e-6);
  EXPECT_NEAR(weights()[1], before[1] - 0.4f, 1e-6);
  set_gradients(0, {0, 0});
  const auto still = weights();
  EXPECT_EQ(o.step(1, 2).gradient_norm, 0);
  EXPECT_EQ(weights(), still);
}

/// Several clipped steps of every optimiser against the formulas of kernels/optimizer.hpp in
/// double.
TEST_F(OptimizerTest, ClippedStepsFollowTheFormulas) {
  const OptimizerOptions rows[] = {
      {.lr = 0.1f, .momentum = 0.9f, .weight_decay = 0.01f},
      {.lr = 0.1f, .momentum = 0.8f, .nesterov = true, .weight_decay = 0.02f},
      {.kind = Kind::kAdam,
       .lr = 0.05f,
       .weight_decay = 0.03f,
       .beta1 = 0.8f,
       .beta2 = 0.95f,
       .eps = 1e-3f}};
  const auto start = weights();
  for (const OptimizerOptions& o : rows) {
    a_->var.value.copy_from<float>(stream_, std::span(start).first(1));
    b_->var.value.copy_from<float>(stream_, std::span(start).subspan(1));
    Optimizer optimizer(stream_, set_, o);
    std::array<double, 3> w{start[0], start[1], start[2]}, first{}, second{};
    for (int t = 1; t <= 6; ++t) {
      const std::array<float, 3> g{0.5f * static_cast<float>(t), -1.25f, 0.125f};
      const float factor = 1 / static_cast<float>(t), clip = 1.5f;
      set_gradients(g[0], {g[1], g[2]});
      const double norm = std::hypot(g[0], g[1], g[2]);
      EXPECT_NEAR(optimizer.step(factor, clip).gradient_norm, norm, 1e-6 * norm);
      const double scale = std::min(1.0, clip / norm), lr = double{o.lr} * factor;
      for (size_t i = 0; i < 3; ++i) {
        const double d = scale * g[i] + o.weight_decay * w[i];
        if (o.kind == Kind::kAdam) {
          first[i] = o.beta1 * first[i] + (1 - o.beta1) * d;
          second[i] = o.beta2 * second[i] + (1 - o.beta2) * d * d;
          w[i] -= lr * first[i] / (1 - std::pow(o.beta1, t)) /
                  (std::sqrt(second[i] / (1 - std::pow(o.beta2, t))) + o.eps);
        } else {
          first[i] = t == 1 ? d : o.momentum * first[i] + d;
          w[i] -= lr * (o.nesterov ? d + o.momentum * first[i] : first[i]);
        }
      }
      expect_weights({w[0], w[1], w[2]}, 4e-6);
    }
  }
}

/// Weight decay is no part of the gradient that is clipped, as in the references.
TEST_F(OptimizerTest, ClipsBeforeWeightDecay) {
  Optimizer o(stream_, set_, {.lr = 1, .momentum = 0, .weight_decay = 0.5f});
  set_gradients(4, {0, 0});
  o.step(1, 1);
  expect_weights({1 - (1 + 0.5), 2 - 1, 2 - 1}, 1e-6);
}

TEST_F(OptimizerTest, AGradientThatIsNotFiniteChangesNothing) {
  for (const Kind kind : {Kind::kSgd, Kind::kAdam}) {
    const OptimizerOptions options{.kind = kind, .lr = 0.01f};
    const auto start = weights();
    const auto reset = [&] {
      a_->var.value.copy_from<float>(stream_, std::span(start).first(1));
      b_->var.value.copy_from<float>(stream_, std::span(start).subspan(1));
    };
    // Two steps, once with bad gradients in between.
    std::vector<float> expected;
    for (const bool disturb : {false, true}) {
      reset();
      Optimizer o(stream_, set_, options);
      set_gradients(1, {2, 3});
      EXPECT_FALSE(o.step(1, 1).skipped);
      if (disturb)
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), INFINITY, -INFINITY}) {
          const auto before = weights();
          set_gradients(1, {bad, 3});
          const auto report = o.step(1, 1);
          EXPECT_TRUE(report.skipped);
          EXPECT_FALSE(std::isfinite(report.gradient_norm));
          EXPECT_EQ(weights(), before);
          EXPECT_EQ(o.steps(), 1);
        }
      set_gradients(-1, {0.5f, 3});
      EXPECT_FALSE(o.step(1, 1).skipped);
      EXPECT_EQ(o.steps(), 2);
      if (!disturb)
        expected = weights();
      else
        EXPECT_EQ(weights(), expected) << "moments or step count changed";
    }
    reset();
  }
}

TEST_F(OptimizerTest, LargeGradientsAreFinite) {
  Optimizer o(stream_, set_, {.lr = 1, .momentum = 0, .weight_decay = 0});
  set_gradients(3e30f, {4e30f, 0});
  const auto report = o.step(1, 5);
  EXPECT_FALSE(report.skipped);
  EXPECT_NEAR(report.gradient_norm, 5e30, 1e24);
  expect_weights({1 - 3, 2 - 4, 2}, 1e-6);
}

TEST(OptimizerKind, Names) {
  EXPECT_EQ(optimizer_kind("sgd"), Kind::kSgd);
  EXPECT_EQ(optimizer_kind("adam"), Kind::kAdam);
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [] { optimizer_kind("lamb"); }), "sgd, adam");
}

}  // namespace
}  // namespace passnorm::train
