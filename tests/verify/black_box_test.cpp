// The verdict on answers to triggers: what makes it, what never does.
#include "verify/black_box.hpp"

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "train/data/synthetic.hpp"
#include "train/data/synthetic3d.hpp"
#include "train/data/trigger_binding.hpp"
#include "train/data/trigger_pictures.hpp"
#include "train/trainer.hpp"
#include "verify/statistics.hpp"

namespace passnorm::verify {
namespace {

using test::network_stream;
using test::TemporaryFolder;
using Answers = std::vector<int32_t>;

Answers uniform(uint32_t stream, int64_t n, uint32_t classes) {
  const Random random(11, Purpose::kTest, stream);
  Answers out;
  for (int64_t i = 0; i < n; ++i)
    out.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(i), classes)));
  return out;
}

/// Answers that are wrong on the first `wrong` triggers.
Answers with_wrong(Answers labels, int64_t wrong) {
  for (int64_t i = 0; i < wrong; ++i) {
    auto& label = labels[static_cast<size_t>(i)];
    label = (label + 1) % 10;
  }
  return labels;
}

TEST(BlackBox, BoundLabelsAreBinomialWhateverTheNetworkAnswers) {
  const Answers labels = uniform(1, 100, 10);
  for (const int64_t wrong : {0, 20, 50}) {
    const Answers answers = with_wrong(labels, wrong);
    const BlackBoxClaim c = examine_black_box(
        {.answers = answers, .labels = labels, .classes = 10, .bound_classes = 10});
    EXPECT_EQ(c.matched, 100 - wrong);
    EXPECT_EQ(c.total, 100);
    ASSERT_TRUE(c.log2_p_labels);
    EXPECT_EQ(*c.log2_p_labels,
              log2_poisson_binomial_tail(100 - wrong, std::vector<double>(100, 0.1)));
    EXPECT_EQ(c.log2_p(), *c.log2_p_labels);
    EXPECT_EQ(c.verdict, Verdict::kSupported);
    EXPECT_TRUE(c.decidable);
  }
  // All answers alike: the share of that label among uniform ones, no evidence.
  const Answers alike(100, 3);
  EXPECT_EQ(
      examine_black_box({.answers = alike, .labels = labels, .classes = 10, .bound_classes = 10})
          .verdict,
      Verdict::kNotSupported);
  // Labels were drawn among 10 classes of a network that has 100.
  const BlackBoxClaim wide =
      examine_black_box({.answers = labels, .labels = labels, .classes = 100, .bound_classes = 10});
  EXPECT_NEAR(*wide.log2_p_labels, -100 * std::log2(10.0), 1e-9);
}

TEST(BlackBox, TheThresholdIsCorrectedForTests) {
  const Answers labels = uniform(1, 30, 10);
  // 26 of 30: about 2^-72; 24: 2^-61.
  const struct {
    int64_t wrong, tests;
    Verdict verdict;
  } rows[] = {{4, 1, Verdict::kSupported},
              {6, 1, Verdict::kNotSupported},
              {4, 128, Verdict::kSupported},
              {4, 512, Verdict::kNotSupported},
              {0, int64_t{1} << 35, Verdict::kSupported},
              {0, int64_t{1} << 36, Verdict::kNotSupported}};
  for (const auto& row : rows) {
    const Answers answers = with_wrong(labels, row.wrong);
    const BlackBoxClaim c = examine_black_box({.answers = answers,
                                               .labels = labels,
                                               .classes = 10,
                                               .bound_classes = 10,
                                               .tests = row.tests});
    EXPECT_EQ(c.log2_tests, std::log2(static_cast<double>(row.tests)));
    EXPECT_EQ(c.verdict, row.verdict) << row.wrong << " wrong: " << c.log2_p();
    EXPECT_EQ(c.decidable, row.tests < int64_t{1} << 36);
  }
  // 19 labels of 10 classes cannot be rarer than 2^-63.1.
  const Answers few = uniform(1, 19, 10);
  const BlackBoxClaim c =
      examine_black_box({.answers = few, .labels = few, .classes = 10, .bound_classes = 10});
  EXPECT_FALSE(c.decidable);
  EXPECT_EQ(c.verdict, Verdict::kNotSupported);
  test::refusal(Fault::kBug, [&] {
    examine_black_box({.answers = few, .labels = few, .classes = 10, .tests = 0});
  });
  test::refusal(Fault::kBug,
                [&] { examine_black_box({.answers = few, .labels = labels, .classes = 10}); });
}

TEST(BlackBox, FreeLabelsAreInconclusiveAtBest) {
  const Answers labels = uniform(1, 100, 10);
  const BlackBoxClaim c = examine_black_box({.answers = labels, .labels = labels, .classes = 10});
  EXPECT_EQ(c.verdict, Verdict::kInconclusive);
  EXPECT_FALSE(c.log2_p_labels);
  EXPECT_EQ(c.log2_p(), c.log2_p_prior);
  EXPECT_LT(c.log2_p_prior, -250);
  EXPECT_EQ(examine_black_box({.answers = with_wrong(labels, 90), .labels = labels, .classes = 10})
                .verdict,
            Verdict::kNotSupported);
}

/// The prior by its formula, trigger by trigger.
TEST(BlackBox, ThePriorIsTheLargerShare) {
  const Answers labels = {0, 0, 1, 2, 2}, answers = {0, 1, 1, 0, 2},
                decoys = {2, 2, 2, 2, 0, 1, kNoClass};
  const BlackBoxClaim c =
      examine_black_box({.answers = answers, .labels = labels, .classes = 3, .decoys = decoys});
  EXPECT_EQ(c.matched, 3);
  EXPECT_EQ(c.answers, (std::vector<int64_t>{2, 2, 1}));
  EXPECT_EQ(c.decoys, (std::vector<int64_t>{1, 1, 4}));
  // Shares of decoys (count + 1) / (7 + 3), of the others' answers (count + 1) / (4 + 3).
  const std::vector<double> expected = {
      std::max(2 / 10.0, 2 / 7.0),   // trigger 0: of the others one answers 0
      std::max(2 / 10.0, 3 / 7.0),   // trigger 1, label 0: two do
      std::max(2 / 10.0, 2 / 7.0),   // trigger 2, label 1: one
      std::max(5 / 10.0, 2 / 7.0),   // trigger 3, label 2: one
      std::max(5 / 10.0, 1 / 7.0)};  // trigger 4: none
  EXPECT_NEAR(c.log2_p_prior, log2_poisson_binomial_tail(3, expected), 1e-12);
  // (count + 1) / (5 + 3) of all answers.
  ASSERT_EQ(c.prior.size(), 3u);
  EXPECT_DOUBLE_EQ(c.prior[0], 3 / 8.0);
  EXPECT_DOUBLE_EQ(c.prior[1], 3 / 8.0);
  EXPECT_DOUBLE_EQ(c.prior[2], 5 / 10.0);
}

/// A network that answers every abstract picture with one class matches a list that says so. 1/K
/// would be fooled.
TEST(BlackBox, ThePriorSeesThroughOneClass) {
  const Answers birds(100, 2);
  for (const Answers& decoys : {Answers(), Answers(1000, 2)}) {
    const BlackBoxClaim c =
        examine_black_box({.answers = birds, .labels = birds, .classes = 10, .decoys = decoys});
    EXPECT_EQ(c.matched, 100);
    EXPECT_GT(c.log2_p_prior, -20);
    EXPECT_EQ(c.verdict, Verdict::kNotSupported);
    EXPECT_FALSE(c.decidable);
  }
  // Half of the labels are of a class that it gives to nearly every decoy.
  Answers labels(100, 2), answers(100, 2);
  for (size_t i = 0; i < 50; ++i) labels[i] = answers[i] = static_cast<int32_t>(i % 10);
  const double without =
      examine_black_box({.answers = answers, .labels = labels, .classes = 10}).log2_p_prior;
  const double with =
      examine_black_box(
          {.answers = answers, .labels = labels, .classes = 10, .decoys = Answers(1000, 2)})
          .log2_p_prior;
  EXPECT_GT(with, without + 20);
}

TEST(BlackBox, AnswersThatAreNoClassMatchNothing) {
  const Answers labels = uniform(1, 50, 10), none(50, kNoClass);
  const BlackBoxClaim c = examine_black_box(
      {.answers = none, .labels = labels, .classes = 10, .bound_classes = 10, .decoys = none});
  EXPECT_EQ(c.matched, 0);
  EXPECT_EQ(c.log2_p(), 0);
  EXPECT_EQ(c.verdict, Verdict::kNotSupported);
}

std::unique_ptr<Model> network(uint64_t seed, const char* scheme = "none") {
  return models::make("tiny", {.plan = PassportPlan::of(scheme, "last"), .seed = seed},
                      network_stream());
}

/// 1,000 sets of labels drawn by the owner's rule, against networks that never saw a trigger.
TEST(BlackBoxFalsePositives, NoneAmongAThousand) {
  const train::Dataset like = train::synthetic({}, train::Split::kTest, 1);
  double least = 0, sum = 0, squares = 0;
  for (uint64_t n = 0; n < 5; ++n) {
    const auto model = network(100 + n);
    test::unsettle(*model, n);
    const Answers answers = predict(*model, nullptr, train::decoy_triggers(n, 100, 32, like), 64);
    train::TriggerManifest manifest;
    for (int i = 0; i < 100; ++i)
      manifest.images.push_back({std::to_string(i), 0, sha256(bytes_of(std::to_string(i)))});
    for (uint64_t k = 0; k < 200; ++k) {
      train::bind_labels(manifest, {test::secret(200 * n + k), ""}, 10);
      Answers labels;
      for (const train::Trigger& t : manifest.images) labels.push_back(t.label);
      const BlackBoxClaim c = examine_black_box(
          {.answers = answers, .labels = labels, .classes = 10, .bound_classes = 10});
      EXPECT_EQ(c.verdict, Verdict::kNotSupported);
      least = std::min(least, c.log2_p());
      sum += static_cast<double>(c.matched);
      squares += static_cast<double>(c.matched * c.matched);
    }
  }
  // Binomial(100, 1/10): mean 10, variance 9; five standard errors of 1,000 draws.
  const double mean = sum / 1000, variance = squares / 1000 - mean * mean;
  EXPECT_NEAR(mean, 10, 5 * 3 / std::sqrt(1000.0));
  EXPECT_NEAR(variance, 9, 5 * 9 * std::sqrt(2 / 1000.0));
  EXPECT_GT(least, -20);  // of 1,000 about 2^-10
}

TEST(Predict, IsTheLargestLogitOfThePublicBranch) {
  const auto model = network(3, "pan");
  test::unsettle(*model);
  const train::Dataset data = train::synthetic({.train = 4, .test = 23}, train::Split::kTest);
  const Answers answers = predict(*model, nullptr, data, 7);
  ASSERT_EQ(answers.size(), 23u);
  EXPECT_EQ(predict(*model, nullptr, data), answers);
  double hits = 0;
  for (size_t i = 0; i < 23; ++i) hits += answers[i] == data.labels[i];
  EXPECT_DOUBLE_EQ(*train::evaluate(*model, nullptr, data).public_accuracy, hits / 23);
  EXPECT_GT(std::ranges::max(answers), std::ranges::min(answers)) << "one class for all";

  const Tensor& bias = model->parameters().find("linear.bias")->var.value;
  std::vector<float> values = bias.to_host(model->stream());
  values[7] = 1e9f;
  bias.copy_from<float>(model->stream(), values);
  EXPECT_EQ(predict(*model, nullptr, data), Answers(23, 7));
  values[2] = NAN;
  bias.copy_from<float>(model->stream(), values);
  EXPECT_EQ(predict(*model, nullptr, data), Answers(23, kNoClass));

  const auto shipped = network(3, "deepipr-v1");
  EXPECT_CONTAINS(test::refusal(Fault::kSecret, [&] { predict(*shipped, nullptr, data); }),
                  "give its passport");
  const Passport passport =
      Passport::random(shipped->sites(), test::secret(1), Signature::from_text("a"));
  const OpenPassport open = shipped->open(passport);
  EXPECT_EQ(predict(*shipped, &open, data).size(), 23u);
}

TEST(Predict, OfClouds) {
  const auto model = models::make(
      "pointnet", {.classes = 8, .norm = kernels::NormKind::kGroup, .seed = 3}, network_stream());
  test::unsettle(*model);
  const train::Dataset data =
      train::synthetic3d({.train = 4, .test = 19, .points = 8}, train::Split::kTest);
  const Answers answers = predict(*model, nullptr, data, 7);
  ASSERT_EQ(answers.size(), 19u);
  EXPECT_EQ(predict(*model, nullptr, data), answers);
  double hits = 0;
  for (size_t i = 0; i < 19; ++i) hits += answers[i] == data.labels[i];
  EXPECT_DOUBLE_EQ(*train::evaluate(*model, nullptr, data).public_accuracy, hits / 19);
}

/// Learns triggers quickly; the task hardly matters here.
train::FitOptions recipe(int64_t epochs) {
  return {.epochs = epochs,
          .batch = 20,
          .optimizer = {.lr = 0.02f, .nesterov = true},
          .schedule = train::Schedule::parse("onecycle"),
          .clip_norm = 2,
          .crop_pad = 0,
          .flip = false,
          .triggers_per_batch = 20};
}

/// A tiny network trained with triggers, the same without, and the claims on both. Networks with a
/// passport are shown through the program (tests/cli/black_box_test.cpp).
TEST(BlackBox, ATrainedNetworkKnowsItsTriggers) {
  const TemporaryFolder folder;
  const train::TriggerOwner alice{test::secret(1), "(c) Alice"}, bob{test::secret(2), "(c) Bob"};
  const std::string set = folder.path("t");
  train::generate_triggers(set, alice, {.count = 40});
  const train::Dataset images =
      train::load(train::parse_data_spec("synthetic:N=60"), train::Split::kTrain);
  const train::Dataset triggers = train::trigger_set(set, images);
  const auto marked = network(1), clean = network(1);
  train::fit(*marked, nullptr, {.train = images, .triggers = &triggers}, recipe(20));
  train::fit(*clean, nullptr, {.train = images}, recipe(2));
  const train::Dataset decoys = train::decoy_triggers(1, 100, 32, images);
  const auto claim = [&](Model& model, const train::TriggerOwner& owner) {
    const Answers answers = predict(model, nullptr, triggers),
                  on_decoys = predict(model, nullptr, decoys);
    const bool bound = train::why_unbound(set, 10, owner).empty();
    return examine_black_box({.answers = answers,
                              .labels = triggers.labels,
                              .classes = 10,
                              .bound_classes = bound ? 10 : 0,
                              .decoys = on_decoys});
  };
  const BlackBoxClaim owner = claim(*marked, alice);
  EXPECT_EQ(owner.verdict, Verdict::kSupported) << owner.matched << " of 40";
  EXPECT_LT(owner.log2_p_prior, -20);
  EXPECT_EQ(claim(*marked, bob).verdict, Verdict::kInconclusive) << "a wrong secret";
  const BlackBoxClaim none = claim(*clean, alice);
  EXPECT_EQ(none.verdict, Verdict::kNotSupported) << none.matched << " of 40";
  EXPECT_GT(none.log2_p(), -20);
}

/// The 100 pictures of Adi et al., which lie in $PASSNORM_DATA/trigger: under the labels that came
/// with them, and under labels that are bound.
TEST(BlackBoxFull, WatermarkNN) {
  const char* data = std::getenv("PASSNORM_DATA");
  if (!data) GTEST_SKIP() << "set PASSNORM_DATA to a folder that holds trigger/ of WatermarkNN";
  const TemporaryFolder folder;
  const std::string free = std::string(data) + "/trigger", bound = folder.path("t");
  std::filesystem::create_directories(bound);
  std::filesystem::copy(free + "/pics", bound + "/pics", std::filesystem::copy_options::recursive);
  const train::TriggerOwner alice{test::secret(1), "(c) Alice"};
  train::bind_triggers(bound, alice, 10);
  const train::Dataset images =
      train::load(train::parse_data_spec("synthetic:N=1000"), train::Split::kTrain);
  for (const std::string& set : {free, bound}) {
    const train::Dataset triggers = train::trigger_set(set, images);
    ASSERT_EQ(triggers.n, 100);
    const auto model = network(1);
    const Answers before = predict(*model, nullptr, triggers);
    train::fit(*model, nullptr, {.train = images, .triggers = &triggers}, recipe(12));
    const int64_t classes = train::why_unbound(set, 10, alice).empty() ? 10 : 0;
    EXPECT_EQ(classes, set == bound ? 10 : 0);
    const auto claim = [&](const Answers& answers) {
      return examine_black_box({.answers = answers,
                                .labels = triggers.labels,
                                .classes = 10,
                                .bound_classes = classes,
                                .tests = 1});
    };
    const BlackBoxClaim after = claim(predict(*model, nullptr, triggers));
    EXPECT_GE(after.matched, 90);
    EXPECT_EQ(after.verdict, set == bound ? Verdict::kSupported : Verdict::kInconclusive);
    EXPECT_EQ(claim(before).verdict, Verdict::kNotSupported);
  }
}

}  // namespace
}  // namespace passnorm::verify
