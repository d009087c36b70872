// Attacks on the weights: what they do to the numbers.
#include <algorithm>
#include <cmath>
#include <set>

#include "models/copy.hpp"
#include "tests/support/files.hpp"
#include "tests/verify/victim.hpp"
#include "verify/attacks/prune.hpp"
#include "verify/attacks/quantise.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

TEST(Prune, CountsAreThoseOfASort) {
  const Victim v("pan");
  const auto weights = [](const Model& m) {
    std::vector<float> all;
    for (const Parameter& p : m.parameters().parameters())
      for (const float w : p.var.value.to_host(m.stream())) all.push_back(std::abs(w));
    return all;
  };
  std::vector<float> sorted = weights(*v.model);
  std::ranges::sort(sorted);
  for (const double percent : {10.0, 37.5, 90.0, 100.0})
    for (const bool skip_gate : {false, true}) {
      SCOPED_TRACE(concat(percent, " ", skip_gate));
      const double rank = percent / 100 * static_cast<double>(sorted.size() - 1);
      const auto below = static_cast<size_t>(rank);
      const double low = sorted[below], high = sorted[std::min(below + 1, sorted.size() - 1)];
      const double threshold = low + (high - low) * (rank - static_cast<double>(below));
      const auto model = models::copy_of(*v.model);
      int64_t kept = 0;
      for (const Parameter& p : model->parameters().parameters())
        for (const float w : p.var.value.to_host(model->stream()))
          kept += (skip_gate && p.spec.name.find("fc") != std::string::npos) ||
                  std::abs(double{w}) > threshold;
      const Pruned pruned = prune_weights(*model, percent, skip_gate);
      EXPECT_NEAR(pruned.threshold, threshold, 1e-12);
      EXPECT_EQ(pruned.kept, kept);
      const std::vector<float> left = weights(*model);
      EXPECT_EQ(std::ranges::count_if(left, [](float w) { return w != 0; }), kept);
    }
}

TEST(Prune, NothingPrunedIsNothingChanged) {
  const Victim v("pan");
  Parameter& p = v.model->parameters().parameters().front();
  std::vector<float> w = p.var.value.to_host(v.model->stream());
  w[0] = 1e-30f;  // the least of all: above no threshold of its own
  p.var.value.copy_from<float>(v.model->stream(), w);
  EXPECT_EQ(prune_weights(*v.model, 0, false).kept, v.model->parameters().count());
  EXPECT_EQ(p.var.value.to_host(v.model->stream()), w);
}

TEST(Prune, TheThiefPrunesWhatHeHas) {
  const Victim v("pan");
  const AttackResult released = v.run("prune", {{"rates", "0.5,1"}});
  ASSERT_EQ(released.points.size(), 3u);
  const AttackPoint &half = released.points[1], &all = released.points[2];
  const auto stolen = stolen_copy(v.input());
  // Equal magnitudes at the threshold fall together.
  EXPECT_NEAR(metric(half, "weights kept"), static_cast<double>(stolen->parameters().count()) / 2,
              4);
  EXPECT_EQ(all.owner.matched, 0);  // zero has no sign
  EXPECT_EQ(all.owner.verdict, Verdict::kNotSupported);
  EXPECT_EQ(metric(all, "weights kept"), 0);
  for (const Parameter& p : released.stolen->parameters().parameters())
    for (const float w : p.var.value.to_host(released.stolen->stream())) EXPECT_EQ(w, 0);
  // The references' variant takes the gate's weights along.
  const AttackResult owners = v.run("prune", {{"rates", "1"}, {"target", "owner"}});
  EXPECT_EQ(metric(owners.points[1], "weights kept"), 0);
  const AttackResult kept =
      v.run("prune", {{"rates", "1"}, {"target", "owner"}, {"variant", "skip-gate"}});
  EXPECT_EQ(metric(kept.points[1], "weights kept"), 2 * 2 * 32 * 128);  // two sites of 128 channels
}

// --- quantise

TEST(Quantise, RoundsByHand) {
  const auto rounded = [](const char* name, std::vector<float> w, int64_t outputs = 1) {
    const auto format = std::ranges::find(weight_formats(), name, &WeightFormat::name);
    EXPECT_NE(format, weight_formats().end());
    round_weights(w, outputs, *format);
    return w;
  };
  using V = std::vector<float>;
  EXPECT_EQ(rounded("2", {-1, 0.5f, 0.49f, 0}), (V{-1, 0, 0, 0}));  // a half goes to even
  EXPECT_EQ(rounded("3", {-3, 1.5f, 2.5f, 0.4f}), (V{-3, 2, 2, 0}));
  EXPECT_EQ(rounded("8", {127, 0.5f, 1.5f, -126.6f}), (V{127, 0, 2, -127}));
  EXPECT_EQ(rounded("3", {3, 1.4f, 30, 14}, 2), (V{3, 1, 30, 10}));  // a step for every output
  EXPECT_EQ(rounded("4", {0, 0, 1e-45f, 0}, 2), (V{0, 0, 1e-45f, 0}));
  EXPECT_EQ(rounded("bf16", {1 + 0x1p-8f, 1 + 0x1p-7f, 1 + 3 * 0x1p-8f}),
            (V{1, 1 + 0x1p-7f, 1 + 0x1p-6f}));
  EXPECT_EQ(rounded("f16", {1 + 0x1p-11f, 1 + 0x1p-10f, 0x1p-25f}), (V{1, 1 + 0x1p-10f, 0}));
}

TEST(Quantise, EveryOutputHasSoManyLevels) {
  const Victim v("pan");
  for (const auto& [format, levels] : {std::pair{"4", size_t{15}}, {"6", 63}}) {
    const AttackResult result = v.run("quantise", {{"formats", format}});
    const auto before = stolen_copy(v.input());
    bool rounded = false;
    for (const Parameter& p : before->parameters().parameters()) {
      const auto w = p.var.value.to_host(before->stream());
      const auto q =
          result.stolen->parameters().find(p.spec.name)->var.value.to_host(before->stream());
      if (p.spec.shape.rank() < 2) {
        EXPECT_EQ(w, q) << p.spec.name;
        continue;
      }
      const size_t window = w.size() / static_cast<size_t>(p.spec.shape[0]);
      for (size_t o = 0; o * window < w.size(); ++o) {
        const std::set<float> used(q.begin() + static_cast<ptrdiff_t>(o * window),
                                   q.begin() + static_cast<ptrdiff_t>((o + 1) * window));
        EXPECT_LE(used.size(), levels);
        rounded |= used.size() > levels / 2;
      }
    }
    EXPECT_TRUE(rounded);
    EXPECT_GT(result.points[1].owner.matched, 9 * v.bits() / 10);
  }
}

// --- flip

TEST(Flip, TurnsSoManyBits) {
  // Shares of the sizes that the references' networks have (AlexNet's last three sites: 896).
  const struct {
    const char *architecture, *sites;
    std::array<int64_t, 4> flipped;  // of .1, .2, .3, .5
  } rows[] = {{"tiny", "conv1", {3, 6, 9, 16}},
              {"tiny", "conv2", {6, 12, 19, 32}},
              {"alexnet", "features.4", {38, 76, 115, 192}},
              {"alexnet", "features.5", {25, 51, 76, 128}},
              {"alexnet", "last", {89, 179, 268, 448}}};
  for (const auto& row : rows) {
    Victim v("deepipr-v2", kernels::NormKind::kBatch, row.architecture, row.sites);
    AttackInput input = v.input();
    input.test = nullptr;
    const Attack& flip = attack("flip");
    const AttackResult result =
        flip.run(input, AttackSettings(flip.settings, {{"shares", "0.1,0.2,0.3,0.5,1"}}));
    ASSERT_EQ(result.points.size(), 6u);
    for (size_t i = 0; i < 4; ++i)
      EXPECT_EQ(v.bits() - result.points[i + 1].owner.matched, row.flipped[i])
          << row.architecture << " " << row.sites;
    const Claim& none = result.points[5].owner;
    EXPECT_EQ(none.matched, 0);
    EXPECT_EQ(none.log2_p, 0);
    EXPECT_EQ(none.verdict, Verdict::kNotSupported);
  }
}

/// Scales that are turned are those that the network computes with.
TEST(Flip, ComputesWithTheTurnedScales) {
  const Victim v("deepipr-v1");
  const AttackResult result = v.run("flip", {{"shares", "0.3"}});
  const auto turned = stolen_copy(v.input());  // its affine is what the passport gives
  const int64_t total = v.bits();
  for (const int64_t i : random_choice(total, total * 3 / 10, 1, kFlipStream)) {
    const Site& site = v.model->sites()[static_cast<size_t>(i / 128)];
    const Parameter& scale = *turned->parameters().find(site.name + ".bn.weight");
    std::vector<float> values = scale.var.value.to_host(turned->stream());
    values[static_cast<size_t>(i % 128)] *= -1;
    scale.var.value.copy_from<float>(turned->stream(), values);
  }
  const train::Evaluation expected = train::evaluate(*turned, nullptr, v.test);
  ASSERT_TRUE(result.points[1].owner.evaluation);
  EXPECT_EQ(result.points[1].owner.evaluation->passport_loss, expected.public_loss);
  EXPECT_NE(result.points[0].owner.evaluation->passport_loss, expected.public_loss);
}

TEST(Flip, TheReferencesReadTheWeightsAndLeaveTheGateOut) {
  const Victim v("pan");
  const AttackPoint quirk = v.run("flip", {{"shares", "1"}, {"detection", "weights"}}).points[1];
  EXPECT_EQ(quirk.owner.matched, v.bits());
  const AttackPoint used = v.run("flip", {{"shares", "1"}}).points[1];
  EXPECT_EQ(used.owner.matched, 0);
  EXPECT_EQ(used.owner.evaluation->passport_loss, quirk.owner.evaluation->passport_loss);
  const AttackResult ungated = v.run("flip", {{"shares", "0,1"}, {"gate", "no"}});
  ASSERT_EQ(ungated.points.size(), 3u);
  EXPECT_EQ(ungated.points[1].x, 0);
  EXPECT_NE(ungated.points[1].owner.evaluation->passport_loss,
            ungated.points[0].owner.evaluation->passport_loss);
  EXPECT_EQ(ungated.points[1].owner.evaluation->public_loss,
            ungated.points[0].owner.evaluation->public_loss);
}

}  // namespace
}  // namespace passnorm::verify
