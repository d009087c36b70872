// permute: the network computes what it did, the owner's bits are lost to a raw read, and a thief
// who chooses the order has his own. On every kind of network that it knows.
#include <algorithm>
#include <cmath>

#include "models/copy.hpp"
#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "tests/verify/carry.hpp"
#include "train/data/synthetic.hpp"
#include "train/data/synthetic3d.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::verify {
namespace {

using kernels::NormKind;

struct Victim {
  std::unique_ptr<Model> model;
  std::optional<Passport> passport;
  train::Dataset test;

  explicit Victim(const char* architecture, const char* scheme = "pan",
                  NormKind norm = NormKind::kBatch, const char* sites = "last") {
    const bool clouds = architecture == std::string("pointnet");
    model = models::make(architecture,
                         {.classes = clouds ? 8 : 10,
                          .norm = norm,
                          .plan = PassportPlan::of(scheme, sites),
                          .points = 32,
                          .seed = 3},
                         test::network_stream());
    test::unsettle(*model);
    passport = Passport::random(model->sites(), test::secret(1), Signature::from_text("owner"));
    if (!clouds) test::carry(*model, *passport);
    test = clouds ? train::synthetic3d({.train = 4, .test = 8, .points = 32}, train::Split::kTest)
                  : train::synthetic({.train = 4, .test = 8}, train::Split::kTest);
  }
  AttackInput input(uint64_t seed = 1) const {
    return {.model = *model, .passport = *passport, .test = &test, .seed = seed};
  }
  AttackResult run(const std::map<std::string, std::string>& settings, uint64_t seed = 1) const {
    const Attack& a = attack("permute");
    return a.run(input(seed), AttackSettings(a.settings, settings));
  }
};

double change_of_logits(const AttackPoint& p) {
  for (const auto& [name, value] : p.metrics)
    if (name == "change of logits") return value;
  ADD_FAILURE() << "not measured";
  return NAN;
}

TEST(Permute, NoNetworkComputesAnythingElse) {
  const struct {
    const char *architecture, *scheme;
    NormKind norm;
  } rows[] = {{"tiny", "pan", NormKind::kBatch},
              {"tiny", "deepipr-v1", NormKind::kGroup},
              {"tiny", "deepipr-v2", NormKind::kLayer},
              {"tiny", "pan", NormKind::kInstance},
              {"alexnet", "deepipr-v2", NormKind::kGroup},
              {"resnet18", "deepipr-v2", NormKind::kBatch},
              {"pointnet", "pan", NormKind::kBatch}};
  for (const auto& row : rows) {
    SCOPED_TRACE(concat(row.architecture, " ", row.scheme, " ", static_cast<int>(row.norm)));
    const Victim v(row.architecture, row.scheme, row.norm);
    const AttackResult result = v.run({{"order", "random"}, {"shares", "1"}});
    EXPECT_LT(change_of_logits(result.points.at(1)), 1e-4);  // sums in another order
    EXPECT_FALSE(result.points[1].forger);
    // Every tensor has the values that it had, nearly all at other places.
    const auto before = stolen_copy(v.input());
    size_t moved = 0, all = 0;
    for (const Parameter& p : before->parameters().parameters()) {
      SCOPED_TRACE(p.spec.name);
      std::vector<float> a = p.var.value.to_host(before->stream());
      std::vector<float> b =
          result.stolen->parameters().find(p.spec.name)->var.value.to_host(before->stream());
      for (size_t i = 0; i < a.size(); ++i) moved += a[i] != b[i], ++all;
      std::ranges::sort(a);
      std::ranges::sort(b);
      EXPECT_EQ(a, b);
    }
    EXPECT_GT(moved, all / 2);
  }
}

TEST(Permute, ARawReadLosesTheOwnersBits) {
  for (const char* scheme : {"pan", "deepipr-v1"}) {
    SCOPED_TRACE(scheme);
    const Victim v("tiny", scheme);
    const AttackResult result = v.run({{"order", "random"}, {"shares", "0.5,1"}});
    ASSERT_EQ(result.points.size(), 3u);
    EXPECT_EQ(result.points[0].owner.matched, 256);
    EXPECT_EQ(result.points[0].owner.verdict, Verdict::kSupported);
    EXPECT_LT(result.points[1].owner.matched, 230);
    EXPECT_LT(result.points[2].owner.matched, 170);
    EXPECT_EQ(result.points[2].owner.verdict, Verdict::kNotSupported);
  }
}

TEST(Permute, AThiefOrdersChannelsForBitsOfHisOwn) {
  // Three sites whose channels have an order each.
  const Victim alexnet("alexnet", "deepipr-v2");
  const AttackPoint point = alexnet.run({{"shares", "1"}}).points.at(1);
  ASSERT_TRUE(point.forger);
  EXPECT_GT(point.forger->matched, 896 * 9 / 10);
  EXPECT_EQ(point.forger->verdict, Verdict::kSupported);
  EXPECT_EQ(point.owner.verdict, Verdict::kNotSupported);
  EXPECT_LT(change_of_logits(point), 1e-4);
  // The two sites of tiny share one order: the second is left to chance.
  const AttackPoint tiny = Victim("tiny").run({{"shares", "1"}}).points.at(1);
  EXPECT_GT(tiny.forger->sites[0].matched, 115);
  EXPECT_LT(tiny.forger->sites[1].matched, 90);
  EXPECT_EQ(tiny.forger->verdict, Verdict::kNotSupported);
  // Within groups of 16 there is less choice.
  const AttackPoint grouped =
      Victim("alexnet", "deepipr-v2", NormKind::kGroup).run({{"shares", "1"}}).points.at(1);
  EXPECT_GT(grouped.forger->matched, 896 * 3 / 4);
  EXPECT_LT(grouped.forger->matched, point.forger->matched);
}

TEST(Permute, TheSeedSaysTheOrder) {
  const Victim v("tiny");
  const auto weights = [&](uint64_t seed) {
    const AttackResult result = v.run({{"order", "random"}, {"shares", "1"}}, seed);
    return result.stolen->parameters().weights().to_host(v.model->stream());
  };
  EXPECT_EQ(weights(1), weights(1));
  EXPECT_NE(weights(1), weights(2));
}

}  // namespace
}  // namespace passnorm::verify
