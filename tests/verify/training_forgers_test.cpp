// Attacks that train a passport, or a scale and a shift, of a thief's or a forger's own.
#include <array>
#include <cmath>

#include "tests/support/files.hpp"
#include "tests/verify/owner.hpp"

namespace passnorm::verify {
namespace {

TEST(Overwrite, GivesAForgerAClaimThatIsSupportedToo) {
  const AttackInput input = input_of(owner());
  const AttackResult r =
      run("overwrite", input, {{"epochs", "3"}, {"lr", "0.05"}, {"sign-loss", "2"}});
  ASSERT_EQ(r.points.size(), 4u);
  EXPECT_FALSE(r.points[0].forger);
  const AttackPoint& last = r.points.back();
  ASSERT_TRUE(last.forger);
  EXPECT_EQ(last.forger->verdict, Verdict::kSupported);
  EXPECT_TRUE(last.forger->bits_bound);
  EXPECT_EQ(last.forger->signature.text, "Mallory");
  EXPECT_GT(last.forger->matched, last.owner.total * 9 / 10);
  // His claim is on what he releases.
  const auto suspect = before_judge(input, *r.stolen);
  EXPECT_EQ(examine(*suspect, input.passport, {.null_passports = 0}).matched, last.owner.matched);
  EXPECT_EQ(r.stolen->options().plan.scheme->passport, false);
}

TEST(Fake2, FindsAScaleAndShiftForTheFrozenNetwork) {
  for (const char* scheme : {"deepipr-v1", "pan"}) {
    const AttackInput input = input_of(owner(scheme));
    const AttackResult r = run("fake2", input, {{"epochs", "6"}, {"lr", "0.05"}});
    ASSERT_EQ(r.points.size(), 8u);
    const auto accuracy = [&](const AttackPoint& p) {
      return input.model.has_branch(Branch::kPublic) ? public_accuracy(p.owner)
                                                     : metric(p, "stolen accuracy");
    };
    EXPECT_GT(accuracy(r.points.back()), accuracy(r.points[1]) + 0.1) << scheme;
    EXPECT_NEAR(metric(r.points[1], "sign similarity"), 0.5, 0.01) << scheme;
    EXPECT_EQ(changed(*stolen_copy(input), *r.stolen),
              (std::vector<std::string>{"conv3.bn.weight", "conv3.bn.bias", "conv4.bn.weight",
                                        "conv4.bn.bias"}))
        << scheme;
    for (size_t i = 1; i < r.points.size(); ++i) {
      EXPECT_EQ(r.points[i].owner.matched, r.points[0].owner.matched);
      ASSERT_TRUE(r.points[i].forger);
      EXPECT_EQ(r.points[i].forger->matched, 256);
      EXPECT_FALSE(r.points[i].forger->bits_bound);
      EXPECT_EQ(r.points[i].forger->verdict, Verdict::kInconclusive);
    }
  }
}

TEST(Fake2, StartsFromSignsOrOnes) {
  const AttackInput input = input_of(owner());
  const auto similarity = [&](const Settings& settings) {
    Settings all{{"epochs", "1"}, {"lr", "0"}};
    all.insert(settings.begin(), settings.end());
    return metric(run("fake2", input, all).points[1], "sign similarity");
  };
  EXPECT_EQ(similarity({{"flips", "0"}}), 1);
  EXPECT_EQ(similarity({{"flips", "1"}}), 0);
  EXPECT_EQ(similarity({{"flips", "0.1"}}), 1 - 25.0 / 256);  // int(25.6)
  // The public branch's scales are positive after so little training.
  EXPECT_GT(similarity({{"init", "ones"}}), 0.95);
  EXPECT_CONTAINS(test::refusal(Fault::kUsage,
                                [&] {
                                  similarity({{"share", "0.05"}});
                                }),
                  "less than a batch");
}

TEST(Fake3, WithoutFlipsIsAsGoodAsTheOwner) {
  const AttackInput input = input_of(owner());
  const AttackResult r = run("fake3", input, {{"epochs", "1"}, {"flips", "0,0.5"}});
  ASSERT_EQ(r.points.size(), 3u);
  const Claim& genuine = r.points[0].owner;
  const AttackPoint &same = r.points[1], &half = r.points[2];
  EXPECT_EQ(same.x, 0);
  EXPECT_EQ(half.x, 0.5);
  ASSERT_TRUE(same.forger && half.forger);
  EXPECT_GT(passport_accuracy(*same.forger), passport_accuracy(genuine) - 0.1);
  EXPECT_GT(same.forger->matched, 250);
  EXPECT_EQ(metric(same, "bits aimed at"), metric(same, "bits of the owner"));
  // Wanting other bits costs: the weights carry the owner's.
  EXPECT_LT(metric(half, "bits aimed at"), 0.9);
  EXPECT_GT(metric(half, "bits of the owner"), 0.6);
  for (const AttackPoint* p : {&same, &half}) {
    EXPECT_EQ(p->owner.matched, genuine.matched);
    EXPECT_FALSE(p->forger->bits_bound);
    EXPECT_NE(p->forger->verdict, Verdict::kSupported);
    EXPECT_GT(metric(*p, "cosine of keys"), 0.99);
    EXPECT_GT(metric(*p, "mse of keys"), 9e-7);  // where they start
  }
  EXPECT_FALSE(r.stolen);
}

/// Statistics that follow the training change what is evaluated; kept ones are the owner's.
TEST(Fake3, StatisticsDriftOrStay) {
  const AttackInput input = input_of(owner());
  const Settings still{{"epochs", "1"}, {"flips", "0"}, {"lr", "0"}, {"noise", "0.000001"}};
  const auto loss = [&](const char* statistics) {
    Settings all = still;
    all["statistics"] = statistics;
    return run("fake3", input, all).points[1].forger->evaluation.value().passport_loss.value();
  };
  const double genuine = measure_untouched(input).owner.evaluation.value().passport_loss.value();
  EXPECT_NEAR(loss("keep"), genuine, 1e-3 * genuine);
  EXPECT_GT(std::abs(loss("drift") - genuine), 1e-2 * genuine);
}

TEST(Ambiguity1, RandomKeysLearnToWork) {
  const AttackInput input = input_of(owner());
  const AttackResult r = run("ambiguity-1", input, {{"epochs", "2"}, {"lr", "0.5"}});
  EXPECT_EQ(r.axis, "epochs");
  ASSERT_EQ(r.points.size(), 3u);
  EXPECT_EQ(r.points[2].x, 2);
  // Their bits are what they read: all of them, and worth nothing.
  EXPECT_EQ(r.points[2].forger.value().matched, 256);
  EXPECT_EQ(r.points[2].forger->verdict, Verdict::kInconclusive);
  EXPECT_LT(std::abs(metric(r.points[2], "cosine of keys")), 0.1);
}

TEST(Ambiguity2, HasAGateOfItsOwn) {
  const AttackInput input = input_of(owner());
  const Settings still{{"epochs", "1"}, {"flips", "0"}, {"lr", "0"}, {"statistics", "keep"}};
  const AttackResult mine = run("ambiguity-2", input, still), genuine = run("fake3", input, still);
  // Nearly the same keys, and another gate: all bits, another branch.
  EXPECT_EQ(mine.points[1].forger.value().matched, genuine.points[1].forger.value().matched);
  EXPECT_NE(mine.points[1].forger->evaluation.value().passport_loss,
            genuine.points[1].forger->evaluation.value().passport_loss);
}

/// A forger is drawn to the wanted bits by the sign losses alone.
TEST(NearForgers, WithoutSignLossesOtherBitsAreNotLearnt) {
  const AttackInput input = input_of(owner());
  for (const char* name : {"fake3", "ambiguity-2"}) {
    const auto bits = [&](const Settings& signs) {
      Settings all{{"epochs", "3"}, {"lr", "1"}, {"clip", "1000"}, {"flips", "0.5"}};
      all.insert(signs.begin(), signs.end());
      return metric(run(name, input, all).points[1], "bits aimed at");
    };
    EXPECT_GT(bits({{"signs", "yes"}, {"sign-factor", "10000"}}), bits({{"signs", "no"}})) << name;
  }
}

/// Keys at rate 0 stay where noise put them.
TEST(NearForgers, OneNoiseForBothKeys) {
  const Owner nobody = untrained();
  const AttackInput input = input_of(nobody);
  for (const char* name : {"fake3", "ambiguity-2"}) {
    const auto distance = [&](const char* one) {
      return metric(
          run(name, input, {{"epochs", "1"}, {"lr", "0"}, {"flips", "0"}, {"one-noise", one}})
              .points[1],
          "mse of keys");
    };
    EXPECT_NE(distance("yes"), distance("no")) << name;
    EXPECT_NEAR(distance("yes"), 1e-6, 1e-7) << name;
  }
}

/// The rate is constant: after k epochs a longer run is where a run of k epochs ends.
TEST(Ambiguity2, BestIsTheFirstEpochOfMostBits) {
  const AttackInput input = input_of(owner());
  const auto point = [&](const Settings& given, int epochs, const char* best) {
    Settings all = given;
    all["epochs"] = concat(epochs);
    all["best"] = best;
    return run("ambiguity-2", input, all).points[1];
  };
  for (const bool rising : {true, false}) {
    // Sign losses alone raise the share of the wanted bits; without them any other bits come.
    const Settings given =
        rising
            ? Settings{{"flips", "0.5"}, {"sign-factor", "10000"}, {"lr", "1"}, {"clip", "1000"}}
            : Settings{{"flips", "0"}, {"sign-factor", "0.000001"}, {"lr", "1"}, {"clip", "1000"}};
    std::array<double, 3> bits{}, mse{};
    for (size_t k = 0; k < 3; ++k) {
      const AttackPoint last = point(given, static_cast<int>(k) + 1, "no");
      bits[k] = metric(last, "bits aimed at");
      mse[k] = metric(last, "mse of keys");
    }
    const auto most = static_cast<size_t>(std::ranges::max_element(bits) - bits.begin());
    EXPECT_TRUE(rising ? most > 0 : most < 2) << bits[0] << " " << bits[1] << " " << bits[2];
    const AttackPoint best = point(given, 3, "yes");
    EXPECT_EQ(metric(best, "bits aimed at"), bits[most]);
    EXPECT_EQ(metric(best, "mse of keys"), mse[most]);
  }
}

TEST(Erb, LearnsScalesThatAnOrdinaryNetworkHolds) {
  const AttackInput input = input_of(owner("deepipr-v1"));
  for (const char* block : {"cerb", "ierb"}) {
    const AttackResult r =
        run("erb", input, {{"block", block}, {"epochs", "3"}, {"share", "1"}, {"lr", "0.02"}});
    ASSERT_EQ(r.points.size(), 4u);
    EXPECT_EQ(changed(*stolen_copy(input), *r.stolen),
              (std::vector<std::string>{"conv3.bn.weight", "conv3.bn.bias", "conv4.bn.weight",
                                        "conv4.bn.bias"}))
        << block;
    EXPECT_GT(metric(r.points.back(), "stolen accuracy"), 0.3) << block;
    EXPECT_GT(metric(r.points.back(), "bit dissimilarity rate"), 0.1) << block;
    EXPECT_EQ(r.points.back().owner.matched, r.points[0].owner.matched);
  }
}

}  // namespace
}  // namespace passnorm::verify
