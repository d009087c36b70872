// Training on point clouds: batches, PointNet, runs that are stopped and resumed.
#include <cmath>

#include "tests/train/training.hpp"
#include "train/batches.hpp"

namespace passnorm::train {
namespace {

std::vector<float> values(const Batch& b) { return b.x.to_host(*test::network_stream()); }

FitOptions of_clouds(int64_t epochs, int64_t batch) {
  return {.epochs = epochs,
          .batch = batch,
          .optimizer = {.kind = OptimizerOptions::Kind::kAdam, .lr = 1e-3f, .weight_decay = 1e-4f},
          .schedule = Schedule::parse("step:20:0.7:1")};
}

TEST(CloudBatches, AreThePointsWithoutAugmentation) {
  const Dataset set = cloud_set(10);
  FitOptions o = of_clouds(1, 4);
  o.augment_points = false;
  Batches batches(*test::network_stream(), {set}, o);
  const Batch batch = batches.at({0, 1});
  EXPECT_EQ(batch.x.shape(), (Shape{4, 1, 16, 3}));
  std::vector<int64_t> index(4);
  batches.choose({0, 1}, index);
  const Dataset chosen = set.select(index);
  EXPECT_EQ(values(batch), chosen.points);
  EXPECT_EQ(batch.labels.to_host<int32_t>(*test::network_stream()), chosen.labels);
  // Options of images do nothing.
  o.crop_pad = 0;
  o.flip = false;
  EXPECT_EQ(values(Batches(*test::network_stream(), {set}, o).at({0, 1})), chosen.points);
  o.precision = DType::kBF16;
  const auto rounded = Batches(*test::network_stream(), {set}, o)
                           .at({0, 1})
                           .x.to_host<bfloat16>(*test::network_stream());
  for (size_t i = 0; i < rounded.size(); ++i)
    ASSERT_EQ(static_cast<float>(rounded[i]), static_cast<float>(bfloat16(chosen.points[i])));
}

/// Point 0 at the origin, the others at (1, 0, 0): what is done to them can be read off.
Dataset probes(int64_t n, int64_t points) {
  Dataset set = cloud_set(n);
  set.w = points;
  set.points.assign(static_cast<size_t>(3 * n * points), 0);
  for (size_t i = 0; i < set.points.size(); i += 3)
    set.points[i] = static_cast<int64_t>(i) / 3 % points > 0;
  return set;
}

TEST(CloudBatches, AreDroppedScaledAndShifted) {
  constexpr int64_t kClouds = 2000, kPoints = 40;
  const Dataset set = probes(kClouds, kPoints);
  const FitOptions o = of_clouds(2, kClouds);
  Batches batches(*test::network_stream(), {set}, o);
  const auto x = values(batches.at({1, 0}));
  EXPECT_EQ(x, values(batches.at({1, 0})));
  EXPECT_NE(x, values(batches.at({0, 0})));
  double scales = 0, dropped = 0, dropped2 = 0, shifts = 0, shifts2 = 0;
  int64_t seen = 0;
  for (int64_t i = 0; i < kClouds; ++i) {
    const float* cloud = x.data() + 3 * kPoints * i;
    for (int c = 0; c < 3; ++c) {
      EXPECT_LE(std::abs(cloud[c]), 0.1f);
      shifts += static_cast<double>(cloud[c]);
      shifts2 += static_cast<double>(cloud[c]) * static_cast<double>(cloud[c]);
    }
    float scale = 0;
    int64_t gone = 0;
    for (int64_t p = 1; p < kPoints; ++p) {
      EXPECT_EQ(cloud[3 * p + 1], cloud[1]);
      EXPECT_EQ(cloud[3 * p + 2], cloud[2]);
      const float step = cloud[3 * p] - cloud[0];
      if (step == 0)
        ++gone;
      else if (scale == 0)
        scale = step;
      else
        EXPECT_EQ(step, scale);
    }
    const double share = static_cast<double>(gone) / (kPoints - 1);
    dropped += share;
    dropped2 += share * share;
    if (scale == 0) continue;
    ++seen;
    scales += static_cast<double>(scale);
    EXPECT_GT(scale, 0.8f - 1e-6f);
    EXPECT_LT(scale, 1.25f + 1e-6f);
  }
  // Every statistic may be off by five standard deviations. Uniform numbers from a to b have
  // variance (b - a)^2 / 12, their squares, where a is -b, b^4 (1/5 - 1/9).
  constexpr double kDeviations = 5;
  const auto expect_mean = [&](double mean, double expected, double variance, int64_t n) {
    EXPECT_NEAR(mean, expected, kDeviations * std::sqrt(variance / static_cast<double>(n)));
  };
  EXPECT_GE(seen, kClouds - 5);  // 0.875^39 / 40 of all lose every point: 0.3 of these
  expect_mean(scales / static_cast<double>(seen), 1.025, 0.45 * 0.45 / 12, seen);
  expect_mean(shifts / (3 * kClouds), 0, 0.2 * 0.2 / 12, 3 * kClouds);
  expect_mean(shifts2 / (3 * kClouds), 0.01 / 3, 0.0001 * 4 / 45, 3 * kClouds);
  // r is uniform in [0, 0.875), and the share of points that are dropped has a binomial's variance
  // r (1 - r) / 39 around it. Its tails are lighter than a normal number's, whose square has
  // variance 2 v^2.
  const double mean = dropped / kClouds;
  const double v = 0.875 * 0.875 / 12 + (0.4375 - 0.875 * 0.875 / 3) / (kPoints - 1);
  expect_mean(mean, 0.4375, v, kClouds);
  expect_mean(dropped2 / kClouds - mean * mean, v, 2 * v * v, kClouds);
}

TEST(CloudBatches, TriggersAreAugmentedTooWithNumbersOfTheirOwn) {
  const Dataset set = probes(8, 6);
  FitOptions o = of_clouds(1, 8);
  o.triggers_per_batch = 8;
  Batches batches(*test::network_stream(), {set, nullptr, &set}, o);
  const auto x = values(batches.at({0, 0}));
  std::vector<int64_t> index(16);
  batches.choose({0, 0}, index);
  const auto cloud_at = [&](int64_t row) {
    return std::vector<float>(x.begin() + 18 * row, x.begin() + 18 * (row + 1));
  };
  for (int64_t row = 0; row < 8; ++row)
    for (int64_t trigger = 8; trigger < 16; ++trigger) EXPECT_NE(cloud_at(row), cloud_at(trigger));
  const Dataset plain = set.select(index);
  EXPECT_NE(cloud_at(12), std::vector<float>(plain.cloud(12).begin(), plain.cloud(12).end()));
  o.augment_points = false;
  EXPECT_EQ(values(Batches(*test::network_stream(), {set, nullptr, &set}, o).at({0, 0})),
            plain.points);
}

TEST(CheckFits, CloudsAndImages) {
  Training clouds = Training::of_clouds("none");
  Training images("none");
  const Dataset set = cloud_set(8);
  check_fits(set, *clouds.model);
  check_fits(synthetic3d({.train = 8, .points = 5}, Split::kTrain), *clouds.model);  // any number
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { check_fits(set, *images.model); }),
                  "the data have 8 classes of clouds of 16 points; the model takes 10 classes of "
                  "3x32x32 images");
  EXPECT_CONTAINS(
      test::refusal(Fault::kUsage, [&] { check_fits(train_set(8), *clouds.model); }),
      "the data have 10 classes of 3x32x32 images; the model takes 8 classes of clouds");
  Dataset other = set;
  other.classes = 9;
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { check_fits(other, *clouds.model); }),
                  "the data have 9 classes");
  const Dataset triggers = synthetic3d({.train = 8, .points = 5}, Split::kTrain);
  EXPECT_CONTAINS(test::refusal(Fault::kUsage,
                                [&] {
                                  clouds.fit({set, nullptr, &triggers}, of_clouds(1, 4));
                                }),
                  "the triggers are clouds of 5 points, the training data clouds of 16 points");
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { clouds.fit({set}, of_clouds(1, 9)); }),
                  "--batch 9 is larger than the 8 training clouds");
}

TEST(CheckFits, CloudsAreNotNormalised) {
  Dataset set = cloud_set(8);
  const models::InputNormalisation n = normalisation_of(set);
  EXPECT_EQ(n.mean, std::vector<float>(3, 0));
  EXPECT_EQ(n.stddev, std::vector<float>(3, 1));
  normalise_as(set, n);
  EXPECT_CONTAINS(test::refusal(Fault::kInput,
                                [&] {
                                  normalise_as(set, {{0, 0, 0.5f}, {1, 1, 1}});
                                }),
                  "expected mean 0 and standard deviation 1");
  test::refusal(Fault::kInput, [&] { normalise_as(set, {{0, 0, 0}, {1, 2, 1}}); });
}

// Batches, test sets and triggers have one size: oneDNN makes its code per size, and that is most
// of what these runs would take.

TEST(CloudFit, PointNetLearns) {
  const Dataset data = cloud_set(32);
  const Dataset test = synthetic3d({.train = 32, .test = 16, .points = 16}, Split::kTest);
  Training run = Training::of_clouds("pan");
  FitOptions o = of_clouds(6, 16);
  o.augment_points = false;
  run.fit({data, &test}, o);
  const EpochReport &first = run.epochs.front(), &last = run.epochs.back();
  EXPECT_EQ(last.skipped_steps, 0);
  EXPECT_LT(last.train.loss_public, 0.85 * first.train.loss_public);
  EXPECT_LT(last.train.loss_passport, 0.85 * first.train.loss_passport);
  EXPECT_LT(last.train.sign_loss, first.train.sign_loss);
  EXPECT_GT(last.train.accuracy_public, 0.3);  // of eight classes
  EXPECT_EQ(last.test->images, 16);
  EXPECT_EQ(last.bits.size(), run.model->sites().size());
}

/// Two runs are one to the byte, whether they are stopped or not: dropout's masks are those of the
/// step, not of how the run came to it.
TEST(CloudFit, AResumedRunEndsLikeOneThatRanThrough) {
  const Dataset data = cloud_set(16), test = cloud_set(10), triggers = cloud_set(10);
  const FitData sets{data, &test, &triggers};
  FitOptions o = of_clouds(2, 8);  // 4 steps
  Training whole = Training::of_clouds("pan");
  whole.fit(sets, o);
  const test::TemporaryFolder folder;
  o.checkpoint.folder = folder.path("checkpoints");
  for (const int64_t stop_after : {1, 2, 100}) {  // in the first epoch, in the second, never
    Training run = Training::of_clouds("pan");
    int64_t steps = 0;
    run.stop = [&] { return ++steps == stop_after; };
    if (stop_after < 100) {
      test::refusal(Fault::kStopped, [&] { run.fit(sets, o); });
    } else {
      run.fit(sets, o);
      EXPECT_LT(steps, 4) << "from the start";
      EXPECT_TRUE(test::same_numbers(run.weights(), whole.weights()));
      EXPECT_TRUE(test::same_numbers(run.buffers(), whole.buffers()));
      EXPECT_EQ(run.epochs.back().triggers->passport_class_accuracy,
                whole.epochs.back().triggers->passport_class_accuracy);
    }
    o.checkpoint.resume = true;
  }
  // Other data are other runs.
  Training other = Training::of_clouds("pan");
  Dataset changed = data;
  changed.points[7] += 0.5f;
  const auto refusal_of = [&](const FitData& d, const FitOptions& options) {
    return test::refusal(Fault::kUsage, [&] { other.fit(d, options); });
  };
  EXPECT_CONTAINS(refusal_of({changed, &test, &triggers}, o), "training data was");
  FitOptions plain = o;
  plain.augment_points = false;
  EXPECT_CONTAINS(refusal_of(sets, plain), "augment-points was yes, now no");
  // And so are those of another seed.
  o.checkpoint = {};
  o.epochs = 1;
  o.seed += 1;
  other.fit(sets, o);
  EXPECT_NE(other.epochs.front().train.loss_public, whole.epochs.front().train.loss_public);
}

TEST(CloudEvaluation, OfAnotherNumberOfPoints) {
  Training run = Training::of_clouds("pan", 64);
  const OpenPassport open = run.model->open(*run.passport);
  const Evaluation e = evaluate(
      *run.model, &open, synthetic3d({.test = 24, .points = 48}, Split::kTest), {.batch = 7});
  EXPECT_EQ(e.images, 24);
  EXPECT_TRUE(std::isfinite(*e.public_loss));
  EXPECT_TRUE(std::isfinite(*e.passport_loss));
}

}  // namespace
}  // namespace passnorm::train
