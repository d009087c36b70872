// The training loop: it learns, repeats itself to the byte, reports what it did, and stops in time.
#include <cmath>

#include "tests/train/training.hpp"

namespace passnorm::train {
namespace {

using kernels::NormKind;
TEST(Fit, BothBranchesLearnAndAllBitsHold) {
  const ImageSet data = train_set(2000);
  const ImageSet test = synthetic({.train = 2000, .test = 500}, Split::kTest);
  Training run("pan", NormKind::kBatch);
  run.fit({data, &test}, quick(5, 50));
  ASSERT_EQ(run.epochs.size(), 5u);
  const EpochReport& last = run.epochs.back();
  EXPECT_GT(last.test->public_accuracy.value(), 0.5);
  EXPECT_GT(last.test->passport_accuracy.value(), 0.5);
  EXPECT_EQ(last.train.bits, 1);
  EXPECT_EQ(last.bits, (std::vector<double>{1, 1}));
  EXPECT_LT(last.train.loss_public, run.epochs[0].train.loss_public);
  EXPECT_EQ(last.skipped_steps, 0);
}

TEST(Fit, RepeatsItselfToTheByte) {
  const ImageSet data = train_set(96);
  std::vector<std::vector<float>> weights, buffers;
  for (const uint64_t seed : {5, 5, 6}) {
    Training run("pan", NormKind::kBatch);
    FitOptions o = quick(2, 32);
    o.seed = seed;
    o.flip = true;
    run.fit({data}, o);
    weights.push_back(run.weights());
    buffers.push_back(run.buffers());
  }
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_EQ(buffers[0], buffers[1]);
  EXPECT_NE(weights[0], weights[2]);  // order and augmentation differ, initial weights do not
}

class FitEvery : public testing::TestWithParam<std::pair<std::string_view, NormKind>> {};

TEST_P(FitEvery, TrainsThreeSteps) {
  const auto [scheme, norm] = GetParam();
  Training run(scheme.data(), norm);
  const auto before = run.weights();
  run.fit({train_set(48)}, quick(1, 16));
  const auto after = run.weights();
  for (const float w : after) ASSERT_TRUE(std::isfinite(w));
  // Every parameter took part.
  ParameterSet& set = run.model->parameters();
  for (const Parameter& p : set.parameters()) {
    double norm_of_gradient = 0;
    for (const float g : p.var.gradient->value.to_host(run.model->stream()))
      norm_of_gradient += double{g} * g;
    EXPECT_GT(norm_of_gradient, 0) << p.spec.name;
  }
  EXPECT_NE(after, before);
  ASSERT_EQ(run.epochs.size(), 1u);
  const EpochReport& e = run.epochs[0];
  EXPECT_EQ(e.train.steps, 3);
  EXPECT_EQ(e.skipped_steps, 0);
  EXPECT_FALSE(e.test);
  const bool passport = run.model->has_branch(Branch::kPassport);
  EXPECT_EQ(e.train.loss_public > 0, run.model->has_branch(Branch::kPublic));
  EXPECT_EQ(e.train.loss_passport > 0, passport);
  EXPECT_EQ(e.train.sign_loss > 0, passport);
  EXPECT_EQ(e.bits.size(), run.model->sites().size());
}

std::vector<std::pair<std::string_view, NormKind>> every_scheme_and_norm() {
  std::vector<std::pair<std::string_view, NormKind>> out;
  for (const Scheme& s : schemes())
    for (const NormKind n :
         {NormKind::kBatch, NormKind::kGroup, NormKind::kInstance, NormKind::kLayer})
      out.emplace_back(s.name, n);
  return out;
}
INSTANTIATE_TEST_SUITE_P(Scheme, FitEvery, testing::ValuesIn(every_scheme_and_norm()),
                         [](const auto& p) {
                           std::string name = concat(p.param.first, "_", name_of(p.param.second));
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(Fit, ReportsWhatItDid) {
  const ImageSet data = train_set(100);
  const ImageSet test = synthetic({.train = 100, .test = 25}, Split::kTest);
  Training run("pan", NormKind::kBatch);
  FitOptions o = quick(2, 16);  // 6 steps, 4 images left out
  o.progress_seconds = 0;       // a report for every step
  run.fit({data, &test}, o);

  ASSERT_EQ(run.progress.size(), 12u);
  ASSERT_EQ(run.epochs.size(), 2u);
  for (size_t i = 0; i < 12; ++i) {
    const Progress& p = run.progress[i];
    const auto epoch = static_cast<int64_t>(i / 6), step = static_cast<int64_t>(i % 6);
    EXPECT_EQ(p.epoch, epoch);
    EXPECT_EQ(p.step, step + 1);
    EXPECT_EQ(p.steps, 6);
    EXPECT_FLOAT_EQ(p.lr, 0.1f * o.schedule.factor(epoch, step, 2, 6));
    EXPECT_GT(p.images_per_second, 0);
    // One step of 16 images: a multiple of a sixteenth.
    EXPECT_EQ(p.accuracy_public * 16, std::round(p.accuracy_public * 16));
    EXPECT_EQ(p.accuracy_passport * 16, std::round(p.accuracy_passport * 16));
    EXPECT_EQ(p.bits * 256, std::round(p.bits * 256));
  }
  for (size_t e = 0; e < 2; ++e) {
    const EpochReport& report = run.epochs[e];
    const auto mean = [&](auto field) {
      double sum = 0;
      for (size_t i = 6 * e; i < 6 * e + 6; ++i) sum += run.progress[i].*field / 6;
      return sum;
    };
    for (const auto field : {&Progress::loss_public, &Progress::loss_passport, &Progress::sign_loss,
                             &Progress::accuracy_public, &Progress::accuracy_passport})
      EXPECT_NEAR(report.train.*field, mean(field), 1e-9);
    EXPECT_EQ(report.train.bits, run.progress[6 * e + 5].bits);  // of the last step
    EXPECT_NEAR((report.bits[0] + report.bits[1]) / 2, report.train.bits, 1e-9);
    EXPECT_EQ(report.train.epoch, static_cast<int64_t>(e));
    EXPECT_EQ(report.train.step, 6);
    EXPECT_EQ(report.train.lr, run.progress[6 * e + 5].lr);
    EXPECT_GT(report.seconds, 0);
    EXPECT_LE(report.train.images_per_second * report.seconds, 96 * 1.5);
    ASSERT_TRUE(report.test);
    EXPECT_EQ(report.test->images, 25);
  }
  // Rare reports: still one at the end of each epoch.
  Training other("pan", NormKind::kBatch);
  o.progress_seconds = 1e9;
  other.fit({data}, o);
  ASSERT_EQ(other.progress.size(), 2u);
  EXPECT_EQ(other.progress[1].step, 6);
  EXPECT_NEAR(other.progress[1].loss_public, run.epochs[1].train.loss_public, 1e-9);
  EXPECT_EQ(other.weights(), run.weights());
}

TEST(Fit, LabelSmoothingAndSignLossAreThoseOfTheOptions) {
  const ImageSet data = train_set(32);
  std::vector<EpochReport> reports;
  for (const auto& [smoothing, alpha] : {std::pair{0.f, 0.1f}, {0.5f, 0.1f}, {0.f, 0.2f}}) {
    Training run("deepipr-v2", NormKind::kGroup);
    FitOptions o = quick(1, 32);
    o.loss = {.label_smoothing = smoothing, .sign = {.alpha = alpha}};
    run.fit({data}, o);
    reports.push_back(run.epochs[0]);
  }
  EXPECT_NE(reports[0].train.loss_public, reports[1].train.loss_public);
  EXPECT_EQ(reports[0].train.sign_loss, reports[1].train.sign_loss);  // one step, before the update
  EXPECT_NEAR(reports[2].train.sign_loss, 2 * reports[0].train.sign_loss,
              0.01 * reports[2].train.sign_loss);  // the decay is not scaled
}

TEST(Fit, StopsWhenTheNumbersAreGone) {
  const ImageSet data = train_set(64);
  Training run("pan", NormKind::kBatch);
  FitOptions o = quick(100, 4);
  o.optimizer = {.lr = 1e9f};
  o.clip_norm = 0;
  o.max_skipped = 3;
  o.schedule = Schedule::parse("constant");
  const std::string text = test::refusal(Fault::kNumerics, [&] { run.fit({data}, o); });
  EXPECT_CONTAINS(text, "3 steps in a row");
  EXPECT_CONTAINS(text, "--lr");
  EXPECT_LT(run.epochs.size(), 20u);
}

TEST(Fit, SkipsAFewBadGradients) {
  // Weights so large that the logits overflow: every gradient is NaN, and nothing may change.
  const ImageSet data = train_set(32);
  Training run("none", NormKind::kGroup);
  const Tensor& w = run.model->parameters().find("linear.weight")->var.value;
  w.copy_from<float>(run.model->stream(), std::vector<float>(static_cast<size_t>(w.size()), 3e38f));
  const auto before = run.weights();
  FitOptions o = quick(3, 16);
  o.max_skipped = 100;
  run.fit({data}, o);
  EXPECT_EQ(run.weights(), before);
  for (const EpochReport& e : run.epochs) EXPECT_EQ(e.skipped_steps, 2);
}

TEST(Fit, NeverEndsWithANetworkOfNaN) {
  // Too few steps are left for max_skipped.
  const ImageSet data = train_set(32);
  for (const char* tensor : {"linear.bias", "conv2.bn.running_mean"}) {
    Training run("none", NormKind::kBatch);
    ParameterSet& set = run.model->parameters();
    const Parameter* p = set.find(tensor);
    const Tensor& value = p ? p->var.value : set.find_buffer(tensor)->value;
    value.copy_from<float>(run.model->stream(),
                           std::vector<float>(static_cast<size_t>(value.size()), NAN));
    EXPECT_CONTAINS(test::refusal(Fault::kNumerics, [&] { run.fit({data}, quick(1, 16)); }),
                    concat(value.size(), " weights or running statistics"));
    EXPECT_TRUE(run.epochs.empty());
  }
}

TEST(Fit, RefusesWhatCannotBeTrained) {
  Training run("pan", NormKind::kBatch);
  const std::string text =
      test::refusal(Fault::kUsage, [&] { run.fit({train_set(20)}, quick(1, 21)); });
  EXPECT_CONTAINS(text, "--batch 21");
  EXPECT_CONTAINS(text, "20 training images");
  run.passport.reset();
  EXPECT_CONTAINS(test::refusal(Fault::kSecret, [&] { run.fit({train_set(20)}, quick(1, 10)); }),
                  "pan");
  EXPECT_TRUE(run.epochs.empty());
}

}  // namespace
}  // namespace passnorm::train
