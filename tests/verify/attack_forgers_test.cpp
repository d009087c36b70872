// Attacks that bring a passport of the forger's own.
#include <algorithm>
#include <cmath>

#include "models/copy.hpp"
#include "tests/support/files.hpp"
#include "tests/verify/victim.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

TEST(Fake1, CountsAreThoseOfExamineOneByOne) {
  constexpr int64_t kCount = 300;  // more than one product
  const Victim v("deepipr-v2");
  const AttackPoint point =
      v.run("fake1", {{"count", "300"}, {"sample", "3"}, {"sample-images", "20"}}).points.at(1);
  const auto model = models::copy_of(*v.model);
  std::vector<std::vector<int8_t>> owners_bits;
  for (const SitePassport& s : v.passport->sites())
    owners_bits.emplace_back(s.bits.begin(), s.bits.end());
  const auto forged = [&](int64_t i) {
    return Passport::random(model->sites(), forger_secret(1, static_cast<uint64_t>(i)),
                            Signature::random());
  };
  const auto bits = static_cast<double>(v.bits());
  int64_t best_of_owners_bits = 0;
  for (const bool owners : {false, true}) {
    std::vector<double> matched;
    for (int64_t i = 0; i < kCount; ++i) {
      const Passport p = forged(i);
      matched.push_back(static_cast<double>(
          examine(*model, owners ? p.with_bits(owners_bits) : p, {.null_passports = 0}).matched));
    }
    double sum = 0, squares = 0, in_bin = 0;
    for (const double m : matched) {
      sum += m;
      squares += m * m;
      in_bin += m / bits >= 0.5 && m / bits < 0.55;
    }
    const double mean = sum / kCount, variance = squares / kCount - mean * mean;
    const std::string what = owners ? "owner's bits, " : "own bits, ";
    const double best = *std::ranges::max_element(matched);
    EXPECT_EQ(metric(point, what + "best"), best);
    if (owners) best_of_owners_bits = std::ranges::find(matched, best) - matched.begin();
    EXPECT_NEAR(metric(point, what + "mean"), mean, 1e-9 * mean);
    EXPECT_NEAR(metric(point, what + "variance over binomial"), variance / (bits / 4), 1e-6);
    EXPECT_EQ(metric(point, what + "50-55%"), in_bin);
    std::ranges::sort(matched);
    EXPECT_EQ(metric(point, what + "50% quantile"), matched[149]);
    EXPECT_EQ(metric(point, what + "99% quantile"), matched[296]);
    if (owners) continue;
    // Own bits are fair coins: 300 of them spread as the binomial does (5 standard errors).
    EXPECT_NEAR(mean, bits / 2, 5 * std::sqrt(bits / 4 / kCount));
    EXPECT_NEAR(metric(point, what + "variance over binomial"), 1, 5 * std::sqrt(2.0 / kCount));
    ASSERT_TRUE(point.forger);
    EXPECT_EQ(static_cast<double>(point.forger->matched), best);
    EXPECT_EQ(point.forger->tests, kCount);
    EXPECT_EQ(point.forger->verdict, Verdict::kNotSupported);
  }
  const auto accuracy = [&](int64_t i) {
    const OpenPassport open = model->open(forged(i));
    return *train::evaluate(*model, &open, v.test, {.limit = 20}).passport_accuracy;
  };
  const double sample[] = {accuracy(0), accuracy(1), accuracy(2)};
  EXPECT_NEAR(metric(point, "accuracy, mean of sample"), (sample[0] + sample[1] + sample[2]) / 3,
              1e-12);
  EXPECT_EQ(metric(point, "accuracy, best of sample"), std::ranges::max(sample));
  EXPECT_EQ(metric(point, "accuracy, best match of owner's bits"), accuracy(best_of_owners_bits));
}

TEST(Fake1, KeysOfPictures) {
  const Victim v("pan");
  for (const char* keys : {"image", "shuffle"}) {
    const std::map<std::string, std::string> settings = {
        {"count", "5"}, {"keys", keys}, {"pictures", "4"}, {"sample", "0"}};
    const AttackPoint point = v.run("fake1", settings).points.at(1);
    EXPECT_EQ(point.owner.matched, v.bits());
    EXPECT_LT(metric(point, "own bits, best"), 200);
    EXPECT_NE(text(point), text(v.run("fake1", settings, 2).points.at(1)));
  }
}

// --- gauge

TEST(Gauge, WritesAnotherPassportAtNoCost) {
  for (const char* scheme : {"pan", "deepipr-v2", "deepipr-v1"}) {
    SCOPED_TRACE(scheme);
    const Victim v(scheme);
    const AttackResult forged = v.run("gauge", {{"shares", "1"}});
    const AttackPoint& point = forged.points.at(1);
    EXPECT_LT(metric(point, "change of logits"), 1e-4);
    ASSERT_TRUE(point.forger);
    EXPECT_EQ(point.forger->matched, v.bits());
    EXPECT_EQ(point.forger->verdict, Verdict::kSupported);  // the limit of raw reads
    EXPECT_LT(point.owner.matched, 170);
    EXPECT_EQ(point.owner.verdict, Verdict::kNotSupported);
    if (v.model->has_branch(Branch::kPublic)) {
      EXPECT_EQ(point.owner.evaluation->public_accuracy,
                forged.points[0].owner.evaluation->public_accuracy);
    } else {
      EXPECT_EQ(metric(point, "stolen accuracy"), metric(forged.points[0], "stolen accuracy"));
    }
    // Half of the channels: half of the owner's bits are left as they are.
    const AttackPoint half = v.run("gauge", {{"shares", "0.5"}, {"bits", "random"}}).points.at(1);
    EXPECT_FALSE(half.forger);
    EXPECT_LT(metric(half, "change of logits"), 1e-4);
    EXPECT_NEAR(static_cast<double>(half.owner.matched), 0.75 * 256, 6 * std::sqrt(256 * 0.1875));
  }
}

TEST(Gauge, NeedsBatchNorm) {
  const Victim v("pan", kernels::NormKind::kGroup);
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { v.run("gauge", {}); }), "group");
}

}  // namespace
}  // namespace passnorm::verify
