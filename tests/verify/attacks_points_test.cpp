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
    train_ = train::synthetic3d({.train = 16, .test = 8, .points = 32}, train::Split::kTrain);
    test_ = train::synthetic3d({.train = 16, .test = 8, .points = 32}, train::Split::kTest);
  }
  AttackInput input() const {
    return {.model = *model_, .passport = *passport_, .train = &train_, .test = &test_, .batch = 8};
  }
  static AttackResult run(std::string_view name, const AttackInput& input,
                          const std::map<std::string, std::string>& settings) {
    const Attack& a = attack(name);
    return a.run(input, AttackSettings(a.settings, settings));
  }
  AttackResult run(std::string_view name,
                   const std::map<std::string, std::string>& settings) const {
    return run(name, input(), settings);
  }
  static double metric(const AttackPoint& p, const std::string& name) {
    for (const auto& [known, value] : p.metrics)
      if (known == name) return value;
    ADD_FAILURE() << "no metric " << name;
    return NAN;
  }

  std::unique_ptr<Model> model_;
  std::optional<Passport> passport_;
  train::Dataset train_, test_;
};

TEST_F(PointNetAttacks, EveryOneRunsAndKeepsTheOriginal) {
  const std::map<std::string, std::string> quick = {
      {"epochs", "1"}, {"rates", "0.5"}, {"shares", "0.5"},      {"formats", "4"}, {"count", "4"},
      {"sample", "1"}, {"flips", "0.5"}, {"sample-images", "4"}, {"share", "1"}};
  const auto original = [&] {
    const ParameterSet& set = model_->parameters();
    std::vector<float> numbers = set.weights().to_host(model_->stream());
    const std::vector<float> statistics = set.buffer_arena().to_host(model_->stream());
    numbers.insert(numbers.end(), statistics.begin(), statistics.end());
    return std::pair(numbers, passport_->bytes());
  };
  const auto before = original();
  for (const Attack& a : attacks()) {
    SCOPED_TRACE(a.name);
    std::map<std::string, std::string> settings;
    for (const AttackSetting& s : a.settings)
      if (const auto it = quick.find(std::string(s.name)); it != quick.end()) settings.insert(*it);
    const AttackResult result = run(a.name, settings);
    ASSERT_GE(result.points.size(), 2u);
    for (const AttackPoint& p : result.points) {
      EXPECT_EQ(p.owner.total, passport_->bit_count());
      EXPECT_EQ(p.owner.evaluation.value().images, test_.n);
      for (const auto& [name, value] : p.metrics) EXPECT_TRUE(std::isfinite(value)) << name;
    }
    EXPECT_TRUE(original() == before);
  }
}

/// The classifier carries a passport too, and is new: with other classes there is no place for it.
TEST_F(PointNetAttacks, AnotherTaskLeavesTheSitesThatFit) {
  for (const int32_t classes : {5, 8}) {
    SCOPED_TRACE(classes);
    const auto of_task = [&](train::Dataset set) {
      set.classes = classes;
      set.class_names.resize(static_cast<size_t>(classes));
      for (int32_t& label : set.labels) label = (label + 1) % classes;
      return set;
    };
    const train::Dataset other_train = of_task(train_), other_test = of_task(test_);
    AttackInput transfer = input();
    transfer.other_train = &other_train;
    transfer.other_test = &other_test;
    const AttackResult r =
        run("fine-tune", transfer, {{"task", "other"}, {"epochs", "1"}, {"lr", "0"}});
    EXPECT_EQ(r.stolen->options().classes, classes);
    ASSERT_EQ(r.points.size(), 2u);
    const Claim &before = r.points[0].owner, &after = r.points[1].owner;
    EXPECT_EQ(before.total, passport_->bit_count());
    const bool fits = classes == 8;
    EXPECT_EQ(after.total, before.total - (fits ? 0 : 8));
    EXPECT_TRUE(after.bits_bound);
    ASSERT_EQ(before.sites.size(), 6u);
    EXPECT_EQ(before.sites[5].name, "p3");
    ASSERT_EQ(after.sites.size(), fits ? 6u : 5u);
    for (size_t i = 0; i < 5; ++i) {  // nothing has been learnt
      EXPECT_EQ(after.sites[i].name, before.sites[i].name);
      EXPECT_EQ(after.sites[i].matched, before.sites[i].matched);
    }
    EXPECT_EQ(after.evaluation.value().images, other_test.n);
  }
}

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
