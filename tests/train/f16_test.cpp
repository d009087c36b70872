// Precision f16: losses' gradients are scaled, by as much as does not overflow.
#include <cmath>

#include "tests/support/tolerance.hpp"
#include "tests/train/training.hpp"
#include "train/training_step.hpp"

namespace passnorm::train {
namespace {

struct Steps {
  Dataset data = train_set(16);
  FitOptions options = quick(1, 4);
  Training run{"pan"};
  OpenPassport passport = run.model->open(*run.passport);
  Batches batches;
  TrainingStep step;

  explicit Steps(DType precision = DType::kF16)
      : batches((options.precision = precision, run.model->stream()), {data}, options),
        step(*run.model, &passport, batches, options) {}
  StepNumbers one(int64_t i) {
    step.start({0, i}, 0.01f);
    return step.finish();
  }
};

TEST(F16, AnOverflowHalvesTheScaleAndChangesNothingElse) {
  Steps s;
  EXPECT_EQ(s.step.state().loss_scale, 0x1p16f);
  s.step.set_state({.loss_scale = 0x1p24f, .updates = 5, .good_steps = 7});
  const auto weights = s.run.weights(), buffers = s.run.buffers();
  const StepNumbers n = s.one(0);
  EXPECT_FALSE(n.applied());
  EXPECT_TRUE(n.overflowed());
  EXPECT_EQ(n.loss_scale, 0x1p24f);
  EXPECT_TRUE(std::isfinite(n.loss[0] + n.loss[1]));
  EXPECT_EQ(n.update.loss_scale, 0x1p23f);
  EXPECT_EQ(n.update.good_steps, 0);
  EXPECT_EQ(n.update.updates, 5);
  EXPECT_EQ(s.run.weights(), weights);
  EXPECT_EQ(s.run.buffers(), buffers);
}

TEST(F16, TheScaleDoublesAfterEnoughGoodSteps) {
  Steps s;
  s.step.set_state({.loss_scale = 0x1p8f, .good_steps = 1998});
  EXPECT_EQ(s.one(0).update.loss_scale, 0x1p8f);
  const StepNumbers n = s.one(1);
  EXPECT_TRUE(n.applied());
  EXPECT_EQ(n.loss_scale, 0x1p8f);
  EXPECT_EQ(n.update.loss_scale, 0x1p9f);
  EXPECT_EQ(n.update.good_steps, 0);
  // Other precisions have no scale.
  Steps f32(DType::kF32);
  f32.step.set_state({.good_steps = 1999});
  EXPECT_EQ(f32.one(0).update.loss_scale, 1);
}

/// The update is that of the unscaled gradient: a power of two is exact, but for what f16 flushes
/// to zero or rounds below its normal numbers without the scale.
TEST(F16, TheUpdateDoesNotDependOnTheScale) {
  std::vector<std::vector<float>> weights;
  std::vector<float> norms;
  for (const float scale : {0x1p10f, 0x1p12f}) {
    Steps s;
    s.step.set_state({.loss_scale = scale});
    const StepNumbers n = s.one(0);
    EXPECT_TRUE(n.applied());
    norms.push_back(n.update.gradient_norm);
    weights.push_back(s.run.weights());
  }
  const double u = test::unit_roundoff(DType::kF16);
  EXPECT_NEAR(norms[0], norms[1], u * norms[1]);
  double difference = 0, length = 0;
  for (size_t i = 0; i < weights[0].size(); ++i) {
    difference += std::pow(double{weights[0][i]} - double{weights[1][i]}, 2);
    length += std::pow(double{weights[1][i]}, 2);
  }
  EXPECT_LE(std::sqrt(difference / length), u * 0.01);  // the rate
}

/// Steps that only wait for a smaller scale are no reason to give up; those with scale 1 are.
TEST(F16, OnlyBadStepsWithoutScaleEndTheRun) {
  // Even classes win by far, and odd ones are right: the loss is finite, and its gradient times w
  // overflows f16 in every step.
  Dataset data = train_set(16);
  for (int32_t& label : data.labels) label |= 1;
  Training run("none", kernels::NormKind::kGroup);
  const Tensor& w = run.model->parameters().find("linear.weight")->var.value;
  std::vector<float> large(static_cast<size_t>(w.size()));
  for (size_t i = 0; i < large.size(); ++i) large[i] = i / 128 % 2 ? -3e7f : 3e7f;
  w.copy_from<float>(run.model->stream(), large);
  FitOptions o = quick(10, 4);  // 4 steps each
  o.precision = DType::kF16;
  o.max_skipped = 3;
  const std::string text = test::refusal(Fault::kNumerics, [&] { run.fit({data}, o); });
  // 2^16 becomes 1 after 16 steps; three more end the run.
  EXPECT_CONTAINS(text, "3 steps in a row, up to step 3 of epoch 5");
}

TEST(F16Full, Learns) {
  const Dataset data = train_set(500);
  Training run("pan");
  FitOptions o = quick(3, 25);
  o.precision = DType::kF16;
  const EpochReport last = run.fit({data}, o);
  EXPECT_EQ(last.skipped_steps, 0);
  EXPECT_LT(last.train.loss_public, 0.8 * run.epochs[0].train.loss_public);
  EXPECT_LT(last.train.loss_passport, 0.8 * run.epochs[0].train.loss_passport);
}

}  // namespace
}  // namespace passnorm::train
