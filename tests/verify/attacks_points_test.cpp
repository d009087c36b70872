// Attacks on PointNet, whose passport sites are convolutions of points and linear layers, the last
// of them without a norm.
#include <algorithm>
#include <cmath>

#include "tests/support/networks.hpp"
#include "train/data/synthetic3d.hpp"
#include "verify/attacks/attack.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

class PointNetAttacks : public testing::Test {
 protected:
  PointNetAttacks() {
    model_ = models::make(
        "pointnet",
        {.classes = 8, .plan = PassportPlan::of("pan", "last"), .points = 32, .seed = 3},
        test::network_stream());
    test::unsettle(*model_);
    passport_ = Passport::random(model_->sites(), test::secret(1), Signature::from_text("owner"));
    test_ = train::synthetic3d({.train = 4, .test = 8, .points = 32}, train::Split::kTest);
  }
  AttackResult run(const char* name, const std::map<std::string, std::string>& settings) const {
    const Attack& a = attack(name);
    return a.run({.model = *model_, .passport = *passport_, .test = &test_},
                 AttackSettings(a.settings, settings));
  }
  static double metric(const AttackPoint& p, const std::string& name) {
    for (const auto& [known, value] : p.metrics)
      if (known == name) return value;
    ADD_FAILURE() << "no metric " << name;
    return NAN;
  }

  std::unique_ptr<Model> model_;
  std::optional<Passport> passport_;
  train::Dataset test_;
};

TEST_F(PointNetAttacks, RandomPassportsAreReadWithTheLinearLayersBiases) {
  const AttackPoint point = run("fake1", {{"count", "4"}, {"sample", "0"}}).points.at(1);
  double best = 0, sum = 0;
  for (uint64_t i = 0; i < 4; ++i) {
    const auto matched = static_cast<double>(
        examine(*model_,
                Passport::random(model_->sites(), forger_secret(1, i), Signature::random()),
                {.null_passports = 0})
            .matched);
    best = std::max(best, matched);
    sum += matched;
  }
  EXPECT_EQ(metric(point, "own bits, best"), best);
  EXPECT_EQ(metric(point, "own bits, mean"), sum / 4);
}

TEST_F(PointNetAttacks, EveryLayerCanBeRewritten) {
  const AttackPoint point = run("gauge", {{"shares", "1"}}).points.at(1);
  EXPECT_LT(metric(point, "change of logits"), 1e-4);
  ASSERT_TRUE(point.forger);
  EXPECT_EQ(point.forger->matched, passport_->bit_count());
  EXPECT_EQ(point.forger->sites.size(), 6u);
}

TEST_F(PointNetAttacks, PanPrunesNoLayerNamedFc) {
  const AttackResult pruned = run("prune", {{"rates", "1"}, {"variant", "skip-gate"}});
  int64_t kept = 0;
  for (const Parameter& p : pruned.stolen->parameters().parameters()) {
    const std::vector<float> w = p.var.value.to_host(model_->stream());
    const int64_t left = std::ranges::count_if(w, [](float v) { return v != 0; });
    EXPECT_EQ(left > 0, p.spec.name.find("fc") != std::string::npos) << p.spec.name;
    kept += left;
  }
  EXPECT_NEAR(metric(pruned.points[1], "weights kept"), static_cast<double>(kept), 0.5);
}

}  // namespace
}  // namespace passnorm::verify
