// The training loop: it learns, repeats itself to the byte, reports what it did, and stops in time.
#include <cmath>

#include "tests/train/training.hpp"

namespace passnorm::train {
namespace {

using kernels::NormKind;
TEST(Fit, BothBranchesLearnAndAllBitsHold) {
  const Dataset data = train_set(2000);
  const Dataset test = synthetic({.train = 2000, .test = 500}, Split::kTest);
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
  const Dataset data = train_set(96);
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
  const Dataset data = train_set(100);
  const Dataset test = synthetic({.train = 100, .test = 25}, Split::kTest);
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
  const Dataset data = train_set(32);
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
  const Dataset data = train_set(64);
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
  const Dataset data = train_set(32);
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
  const Dataset data = train_set(32);
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

void set_all(const Training& run, const char* tensor, float value, size_t first = 0) {
  ParameterSet& set = run.model->parameters();
  const Parameter* p = set.find(tensor);
  const Tensor& t = p ? p->var.value : set.find_buffer(tensor)->value;
  std::vector<float> v = t.to_host(run.model->stream());
  std::fill(v.begin() + static_cast<std::ptrdiff_t>(first), v.end(), value);
  t.copy_from<float>(run.model->stream(), v);
}

/// The line names the first place, in the order of the forward pass.
TEST(Fit, SaysWhereNumbersStoppedBeingFinite) {
  const Dataset data = train_set(32);
  const struct {
    const char* tensor;
    float value;
    std::vector<const char*> says, silent;
  } rows[] = {
      {"conv2.conv.weight",
       INFINITY,
       {"weight conv2.conv.weight", "input of conv3", "gradients from linear.bias back to conv1"},
       {"raw scale"}},
      {"conv4.conv.weight",
       NAN,
       {"weight conv4.conv.weight", "raw scale of conv4", "gradients"},
       {"conv3", "input of"}},
      {"conv3.fc.0.weight", NAN, {"weight conv3.fc.0.weight", "input of conv4"}, {"raw scale"}},
      {"linear.bias", NAN, {"weight linear.bias"}, {"input of", "raw scale"}},
      {"conv1.bn.weight", 1e38f, {"input of conv2", "gradients"}, {"weight conv", "raw scale"}},
  };
  for (const auto& row : rows) {
    Training run("pan", NormKind::kGroup);
    set_all(run, row.tensor, row.value);
    FitOptions o = quick(1, 16);
    o.max_skipped = 2;
    const std::string text = test::refusal(Fault::kNumerics, [&] { run.fit({data}, o); });
    ASSERT_EQ(run.notes.size(), 1u) << row.tensor;
    EXPECT_CONTAINS(run.notes[0], "step 1 of epoch 1");
    EXPECT_CONTAINS(text, "step 2 of epoch 1");
    EXPECT_CONTAINS(text, "2 steps in a row");
    for (const std::string& line : {run.notes[0], text}) {
      for (const char* part : row.says) EXPECT_CONTAINS(line, part);
      for (const char* part : row.silent)
        EXPECT_EQ(line.find(part), std::string::npos) << line << " has " << part;
    }
    EXPECT_FALSE(run.model->on_layer_input);
  }
}

/// Logits so far apart that the loss overflows, and their gradient does not.
TEST(Fit, ALossThatIsNotFiniteSkipsTheStep) {
  const Dataset data = train_set(32);
  Training run("none", NormKind::kGroup);
  set_all(run, "linear.weight", 0);
  set_all(run, "linear.bias", -3.4e38f);
  set_all(run, "linear.bias", 3.4e38f, 9);
  const auto before = run.weights();
  run.fit({data}, quick(1, 16));
  EXPECT_EQ(run.weights(), before);
  EXPECT_EQ(run.epochs[0].skipped_steps, 2);
  ASSERT_EQ(run.notes.size(), 1u);  // one for the stretch
  EXPECT_CONTAINS(run.notes[0], "only the loss");
}

/// What a skipped step gave counts in no mean.
TEST(Fit, MeansAreOverTheStepsThatWereTaken) {
  Dataset data = train_set(64);
  Training run("none", NormKind::kGroup);
  FitOptions o = quick(2, 16);
  o.progress_seconds = 0;
  int64_t steps = 0;
  std::vector<float> kept;
  run.stop = [&] {  // the second step of four is spoilt, then the weights come back
    ++steps;
    if (steps == 1) kept = run.weights(), set_all(run, "linear.bias", NAN);
    if (steps == 2) run.model->parameters().weights().copy_from<float>(run.model->stream(), kept);
    return false;
  };
  run.fit({data}, o);
  EXPECT_EQ(run.epochs[0].skipped_steps, 1);
  EXPECT_EQ(run.epochs[1].skipped_steps, 0);
  EXPECT_TRUE(std::isnan(run.progress[1].loss_public));
  const double mean =
      (run.progress[0].loss_public + run.progress[2].loss_public + run.progress[3].loss_public) / 3;
  EXPECT_NEAR(run.epochs[0].train.loss_public, mean, 1e-9);
}

TEST(Fit, TriggersAreLearnedByBothBranches) {
  const Dataset data = train_set(1000), triggers = trigger_images(10, data);
  for (const char* scheme : {"deepipr-v3", "none"}) {
    Training run(scheme, NormKind::kGroup);
    FitOptions o = quick(4, 50);
    o.triggers_per_batch = 10;  // a share that four epochs are enough for
    const EpochReport last = run.fit({.train = data, .triggers = &triggers}, o);
    ASSERT_TRUE(last.triggers);
    EXPECT_EQ(last.triggers->images, 10);
    EXPECT_FALSE(last.test);
    EXPECT_GE(last.triggers->public_accuracy.value(), 0.8) << scheme;  // by chance 0.1
    EXPECT_EQ(last.triggers->passport_accuracy.has_value(), scheme != std::string("none"));
    EXPECT_GE(last.triggers->passport_accuracy.value_or(1), 0.8) << scheme;
    // The same as an evaluation from outside.
    std::optional<OpenPassport> open;
    if (run.passport) open = run.model->open(*run.passport);
    const Evaluation e = evaluate(*run.model, open ? &*open : nullptr, triggers);
    EXPECT_EQ(e.public_accuracy, last.triggers->public_accuracy);
    EXPECT_EQ(e.passport_loss, last.triggers->passport_loss);
  }
}

/// The best epoch is the second; what follows is spoilt.
TEST(Fit, KeepsTheBestEpoch) {
  const Dataset data = train_set(640);
  const Dataset test = synthetic({.train = 640, .test = 200}, Split::kTest);
  for (const bool best : {true, false}) {
    Training run("pan");
    FitOptions o = quick(4, 32);
    o.schedule = Schedule::parse("multistep:2");
    o.optimizer = {.lr = 0.1f, .nesterov = true};
    o.keep_best = best;
    int64_t steps = 0;
    run.stop = [&] {  // at the end of the third and of the fourth epoch
      if (++steps == 60 || steps == 80) set_all(run, "linear.weight", 0);
      return false;
    };
    const EpochReport report = run.fit({data, &test}, o);
    size_t expected = 3;
    const auto score = [&](size_t e) {
      return *run.epochs[e].test->public_accuracy + *run.epochs[e].test->passport_accuracy;
    };
    if (best)
      for (size_t e = 3; e-- > 0;)
        if (score(e) >= score(expected)) expected = e;
    EXPECT_EQ(expected, best ? 1u : 3u);
    EXPECT_EQ(report.train.epoch, static_cast<int64_t>(expected));
    EXPECT_EQ(report.test->public_loss, run.epochs[expected].test->public_loss);
    // The model is the one that was reported.
    const OpenPassport open = run.model->open(*run.passport);
    EXPECT_EQ(evaluate(*run.model, &open, test).public_loss, report.test->public_loss);
    EXPECT_EQ(evaluate(*run.model, &open, test).passport_loss, report.test->passport_loss);
  }
  FitOptions o = quick(1, 32);
  o.keep_best = true;
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { Training("pan").fit({data}, o); }),
                  "test data");
}

/// After the first steps, and after the second evaluation, which is the first with a plan, nothing
/// is taken from the system: every step finds the memory of the last. With one thread: how many
/// threads of more want their scratch at once is chance.
TEST(Fit, TakesNoMemoryAfterTheFirstSteps) {
  const Dataset data = train_set(96), triggers = trigger_images(8, data);
  const Dataset test = synthetic({.train = 96, .test = 40}, Split::kTest);
  for (const DType precision : {DType::kF32, DType::kBF16}) {
    Training run("pan", NormKind::kBatch, make_stream(Device::cpu(), 1));
    FitOptions o = quick(3, 16);  // 6 steps
    o.precision = precision;
    o.keep_best = true;
    std::vector<size_t> calls;
    run.stop = [&] {
      calls.push_back(run.model->stream().memory()->system_calls());
      return false;
    };
    run.fit({data, &test, &triggers}, o);
    ASSERT_EQ(calls.size(), 18u);
    EXPECT_EQ(calls[5], calls[1]) << "between the second and the sixth step";
    EXPECT_EQ(calls[17], calls[12]) << "after the second evaluation";
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
