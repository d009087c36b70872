// One step and one evaluation against numbers computed here from the logits.
#include "train/step.hpp"

#include <cmath>

#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "train/batch.hpp"
#include "train/data/synthetic.hpp"
#include "train/evaluate.hpp"

namespace passnorm::train {
namespace {

using kernels::NormKind;
using test::network_stream;

struct Net {
  std::unique_ptr<Model> model;
  Passport passport;
  OpenPassport open;
};

Net net(const char* scheme, NormKind norm = NormKind::kBatch) {
  auto model = models::make("tiny", {.norm = norm, .plan = PassportPlan::of(scheme), .seed = 2},
                            network_stream());
  test::unsettle(*model);
  Passport p = Passport::random(model->sites(), test::secret(3), Signature::from_text("x"));
  OpenPassport open = model->open(p);
  return {std::move(model), std::move(p), std::move(open)};
}

/// Mean cross-entropy with label smoothing, and rows whose first largest logit is the label.
struct Score {
  double loss = 0;
  int hits = 0;
};
Score score(std::span<const float> logits, const std::vector<int32_t>& labels, int64_t first,
            double smoothing = 0) {
  Score s;
  const size_t n = labels.size(), classes = 10;
  for (size_t i = 0; i < n; ++i) {
    const auto row = logits.subspan((static_cast<size_t>(first) + i) * classes, classes);
    double sum = 0;
    for (const float v : row) sum += std::exp(double{v});
    const auto label = static_cast<size_t>(labels[i]);
    for (size_t k = 0; k < classes; ++k)
      s.loss -= ((k == label ? 1 - smoothing : 0) + smoothing / 10) * (row[k] - std::log(sum)) /
                static_cast<double>(n);
    s.hits += std::ranges::max_element(row) - row.begin() == static_cast<std::ptrdiff_t>(label);
  }
  return s;
}

const std::vector<int32_t> kLabels = {3, 0, 9, 1, 1, 7};

Tensor labels() { return Tensor::from<int32_t>(*network_stream(), {6}, kLabels); }

TEST(Step, LossesAndHitsFollowFromTheLogits) {
  for (const char* scheme : {"none", "deepipr-v1", "deepipr-v2", "pan"}) {
    Net n = net(scheme);
    const bool passport = scheme != std::string("none");
    Stream& stream = n.model->stream();
    const LossOptions options{.label_smoothing = 0.1f, .sign = {.alpha = 0.3f}};
    const StepResult r =
        forward_backward(*n.model, passport ? &n.open : nullptr, test::pictures(*n.model, 6),
                         labels(), n.model->training_lanes(), options);
    const auto logits = r.logits.value.to_host(stream);
    const auto loss = r.losses.loss.to_host(stream);
    const auto hits = r.losses.hits.to_host<int32_t>(stream);
    const size_t lanes =
        scheme == std::string("none") || scheme == std::string("deepipr-v1") ? 1 : 2;
    ASSERT_EQ(loss.size(), lanes) << scheme;
    ASSERT_EQ(logits.size(), lanes * 60) << scheme;
    for (size_t l = 0; l < lanes; ++l) {
      const Score s = score(logits, kLabels, static_cast<int64_t>(l) * 6, 0.1f);
      EXPECT_NEAR(loss[l], s.loss, 1e-5 * s.loss) << scheme << " " << l;
      EXPECT_EQ(hits[l], s.hits) << scheme << " " << l;
    }
    if (!passport) {
      EXPECT_FALSE(r.signs.loss);
      continue;
    }
    Tape tape(stream, Tape::Mode::kForwardOnly);
    const auto raw = n.model->read(tape, n.open).value.to_host(stream);
    const auto sign_loss = r.signs.loss.to_host(stream);
    const auto matched = r.signs.matched.to_host<int32_t>(stream);
    size_t at = 0;
    ASSERT_EQ(sign_loss.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      const auto& bits = n.passport.sites()[i].bits;
      double expected = 0;
      int right = 0;
      for (size_t c = 0; c < bits.size(); ++c) {
        const double g = raw[at + c];
        expected += 0.3 * std::max(0.0, 0.1 - bits[c] * g) + 1e-5 * g * g;
        right += bits[c] * g > 0;
      }
      at += 2 * bits.size();
      EXPECT_NEAR(sign_loss[i], expected, 1e-5 * expected) << scheme;
      EXPECT_EQ(matched[i], right) << scheme;
    }
  }
}

std::vector<float> gradients(const Net& n) {
  return n.model->parameters().gradients().to_host(n.model->stream());
}

TEST(Step, AccumulatesOnRequestOnly) {
  for (const char* scheme : {"none", "deepipr-v2", "pan"}) {
    Net n = net(scheme, NormKind::kGroup);
    const OpenPassport* open = n.model->sites().empty() ? nullptr : &n.open;
    const Tensor x = test::pictures(*n.model, 6), y = test::pictures(*n.model, 6, 2);
    const auto step = [&](const Tensor& images, bool accumulate) {
      forward_backward(*n.model, open, images, labels(), n.model->training_lanes(), {},
                       {.accumulate = accumulate});
      return gradients(n);
    };
    const auto gx = step(x, false);
    const auto gy = step(y, false);
    EXPECT_NE(gx, gy);
    EXPECT_EQ(step(x, false), gx) << "the first gradient overwrites";
    const auto both = step(y, true);
    double error = 0, norm = 0;
    for (size_t i = 0; i < both.size(); ++i) {
      const double sum = double{gx[i]} + gy[i];
      error += (both[i] - sum) * (both[i] - sum);
      norm += sum * sum;
    }
    EXPECT_GT(norm, 0) << scheme;
    EXPECT_LT(std::sqrt(error / norm), 1e-6) << scheme;
  }
}

TEST(Step, ForwardOnlyLeavesGradientsAndStatistics) {
  Net n = net("pan");
  const Tensor x = test::pictures(*n.model, 6);
  const auto buffers = [&] {
    return n.model->parameters().buffer_arena().to_host(n.model->stream());
  };
  forward_backward(*n.model, &n.open, x, labels(), Lanes::shared(), {});
  const auto before = gradients(n), statistics = buffers();
  forward_only(*n.model, &n.open, x, labels(), Lanes::shared(), Mode::kEvaluate);
  EXPECT_EQ(gradients(n), before);
  EXPECT_EQ(buffers(), statistics);
  forward_only(*n.model, &n.open, x, labels(), Lanes::shared(), Mode::kTrain);
  EXPECT_EQ(gradients(n), before);
  EXPECT_NE(buffers(), statistics);
}

TEST(Step, ThePassportBranchNeedsThePassport) {
  Net n = net("pan");
  test::refusal(Fault::kSecret, [&] {
    forward_backward(*n.model, nullptr, test::pictures(*n.model, 6), labels(), Lanes::shared(), {});
  });
  Net v1 = net("deepipr-v1");
  test::refusal(Fault::kSecret, [&] {
    forward_only(*v1.model, nullptr, test::pictures(*v1.model, 6), labels(),
                 Lanes::only(Branch::kPublic), Mode::kEvaluate);
  });
}

TEST(Evaluate, CountsHitsOfEveryImageOnce) {
  const Dataset set = synthetic({.train = 4, .test = 41}, Split::kTest);
  for (const char* scheme : {"none", "deepipr-v1", "deepipr-v2", "pan"}) {
    Net n = net(scheme);
    const bool has_passport = !n.model->sites().empty();
    const OpenPassport* open = has_passport ? &n.open : nullptr;
    // All images at once, scored here.
    const DeviceDataset images(n.model->stream(), set);
    std::vector<int64_t> index(41);
    for (size_t i = 0; i < 41; ++i) index[i] = static_cast<int64_t>(i);
    const Batch all = images.batch(index);
    std::map<Branch, Score> expected;
    for (const Branch b : {Branch::kPublic, Branch::kPassport})
      if (n.model->has_branch(b))
        expected[b] = score(test::logits(*n.model, has_passport ? &n.passport : nullptr, b, all.x),
                            set.labels, 0);

    for (const int64_t batch : {41, 16, 1, 100}) {  // 16: the last one has 9
      const Evaluation e = evaluate(*n.model, open, set, {.batch = batch});
      EXPECT_EQ(e.images, 41);
      const auto check = [&](Branch b, const std::optional<double>& accuracy,
                             const std::optional<double>& loss) {
        ASSERT_EQ(accuracy.has_value(), n.model->has_branch(b)) << scheme;
        ASSERT_EQ(loss.has_value(), accuracy.has_value());
        if (!accuracy) return;
        EXPECT_EQ(*accuracy, expected[b].hits / 41.0) << scheme << " batch " << batch;
        EXPECT_NEAR(*loss, expected[b].loss, 1e-5 * expected[b].loss)
            << scheme << " batch " << batch;
      };
      check(Branch::kPublic, e.public_accuracy, e.public_loss);
      check(Branch::kPassport, e.passport_accuracy, e.passport_loss);
    }
  }
}

TEST(Evaluate, TheClassAccuracyIsTheMeanOverClasses) {
  Dataset set = synthetic({.train = 4, .test = 41}, Split::kTest);
  for (size_t i = 0; i < 41; ++i) set.labels[i] = i < 30 ? 2 : i < 38 ? 7 : 9;  // of other sizes
  Net n = net("pan");
  std::vector<int64_t> index(41);
  for (size_t i = 0; i < 41; ++i) index[i] = static_cast<int64_t>(i);
  const Tensor x = DeviceDataset(n.model->stream(), set).batch(index).x;
  const auto expected = [&](Branch branch) {
    const auto logits = test::logits(*n.model, &n.passport, branch, x);
    std::map<int32_t, std::pair<int, int>> of_class;  // right, all
    for (size_t i = 0; i < 41; ++i) {
      const auto row = logits.begin() + static_cast<std::ptrdiff_t>(10 * i);
      auto& [right, all] = of_class[set.labels[i]];
      right += std::max_element(row, row + 10) - row == set.labels[i];
      ++all;
    }
    double sum = 0;
    for (const auto& [label, counts] : of_class) sum += double(counts.first) / counts.second;
    return sum / static_cast<double>(of_class.size());
  };
  // Labels that the network gives, so that some are right in every class.
  const auto logits = test::logits(*n.model, &n.passport, Branch::kPublic, x);
  for (const size_t i : {0, 3, 31, 39, 40}) {
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>(10 * i);
    set.labels[i] = static_cast<int32_t>(std::max_element(row, row + 10) - row);
  }
  for (const int64_t batch : {41, 16}) {
    const Evaluation e = evaluate(*n.model, &n.open, set, {.batch = batch});
    EXPECT_NEAR(*e.public_class_accuracy, expected(Branch::kPublic), 1e-12);
    EXPECT_NEAR(*e.passport_class_accuracy, expected(Branch::kPassport), 1e-12);
    EXPECT_GT(*e.public_class_accuracy, 0);
    EXPECT_NE(e.public_class_accuracy, e.public_accuracy);
  }
}

TEST(Evaluate, LimitsAndLanes) {
  const Dataset set = synthetic({.train = 4, .test = 20}, Split::kTest);
  Net n = net("pan");
  Dataset first = set;
  first.n = 7;
  first.images.resize(7 * 3072);
  first.labels.resize(7);
  const Evaluation limited = evaluate(*n.model, &n.open, set, {.batch = 4, .limit = 7});
  const Evaluation small = evaluate(*n.model, &n.open, first, {.batch = 4});
  EXPECT_EQ(limited.images, 7);
  EXPECT_EQ(limited.public_accuracy, small.public_accuracy);
  EXPECT_EQ(limited.passport_loss, small.passport_loss);
  EXPECT_EQ(evaluate(*n.model, &n.open, set, {.limit = 1000}).images, 20);

  const Evaluation both = evaluate(*n.model, &n.open, set);
  const Evaluation passport =
      evaluate(*n.model, &n.open, set, {.lanes = Lanes::only(Branch::kPassport)});
  EXPECT_FALSE(passport.public_accuracy);
  EXPECT_EQ(passport.passport_accuracy, both.passport_accuracy);
  const Evaluation stranger = evaluate(*n.model, nullptr, set);  // without the passport
  EXPECT_FALSE(stranger.passport_accuracy);
  EXPECT_EQ(stranger.public_accuracy, both.public_accuracy);
  Net v1 = net("deepipr-v1");
  test::refusal(Fault::kSecret, [&] { evaluate(*v1.model, nullptr, set); });
  Dataset none = set;
  none.n = 0;
  none.images.clear();
  none.labels.clear();
  test::refusal(Fault::kUsage, [&] { evaluate(*n.model, &n.open, none); });
}

}  // namespace
}  // namespace passnorm::train
