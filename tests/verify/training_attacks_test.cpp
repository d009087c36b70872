// Attacks that train, on a small network that was trained a little.
#include <algorithm>
#include <cmath>

#include "models/copy.hpp"
#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "train/data/synthetic.hpp"
#include "train/trainer.hpp"
#include "verify/attacks/attack.hpp"
#include "verify/attacks/rewrite.hpp"

namespace passnorm::verify {
namespace {

using test::network_stream;
using Settings = std::map<std::string, std::string>;

struct Owner {
  std::unique_ptr<Model> model;
  Passport passport;
};

const train::Dataset& images(train::Split split) {
  static const train::Dataset train =
      train::synthetic({.train = 320, .test = 160}, train::Split::kTrain);
  static const train::Dataset test =
      train::synthetic({.train = 320, .test = 160}, train::Split::kTest);
  return split == train::Split::kTrain ? train : test;
}

/// With all bits, and better than chance.
const Owner& owner(const std::string& scheme = "pan") {
  static std::map<std::string, Owner> owners;
  const auto found = owners.find(scheme);
  if (found != owners.end()) return found->second;
  auto model = models::make("tiny", {.plan = PassportPlan::of(scheme)}, network_stream());
  const Passport passport =
      Passport::random(model->sites(), test::secret(1), Signature::from_text("owner"));
  train::FitOptions options{.epochs = 6,
                            .batch = 32,
                            .optimizer = {.lr = 0.1f, .nesterov = true},
                            .schedule = train::Schedule::parse("onecycle"),
                            .clip_norm = 2};
  options.loss.sign.alpha = 1;
  train::fit(*model, &passport, {.train = images(train::Split::kTrain)}, options);
  return owners.emplace(scheme, Owner{std::move(model), passport}).first->second;
}

/// For what has nothing to do with what a network has learnt.
Owner untrained() {
  auto model = models::make("tiny", {.plan = PassportPlan::of("pan")}, network_stream());
  Passport passport =
      Passport::random(model->sites(), test::secret(1), Signature::from_text("owner"));
  return {std::move(model), std::move(passport)};
}

AttackInput input_of(const Owner& owner) {
  AttackInput input{.model = *owner.model, .passport = owner.passport};
  input.train = &images(train::Split::kTrain);
  input.test = &images(train::Split::kTest);
  input.batch = 32;
  return input;
}

AttackResult run(const char* name, const AttackInput& input, const Settings& given) {
  const Attack& row = attack(name);
  EXPECT_TRUE(row.trains);
  return row.run(input, AttackSettings(row.settings, given));
}

double metric(const AttackPoint& point, const std::string& name) {
  const auto found = std::ranges::find(point.metrics, name, &std::pair<std::string, double>::first);
  if (found != point.metrics.end()) return found->second;
  ADD_FAILURE() << "no metric " << name;
  return std::nan("");
}

double passport_accuracy(const Claim& claim) {
  return claim.evaluation.value().passport_accuracy.value();
}
double public_accuracy(const Claim& claim) {
  return claim.evaluation.value().public_accuracy.value();
}

/// Names of the parameters that differ.
std::vector<std::string> changed(const Model& a, const Model& b) {
  std::vector<std::string> names;
  for (const Parameter& p : a.parameters().parameters()) {
    const auto& others = b.parameters().parameters();
    const auto q =
        std::ranges::find(others, p.spec.name, [](const Parameter& o) { return o.spec.name; });
    EXPECT_NE(q, others.end()) << p.spec.name;
    if (q != others.end() && p.var.value.to_host(a.stream()) != q->var.value.to_host(b.stream()))
      names.push_back(p.spec.name);
  }
  return names;
}

std::vector<float> numbers_of(const AttackResult& result) {
  std::vector<float> out;
  for (const AttackPoint& p : result.points) {
    out.push_back(static_cast<float>(p.owner.matched));
    if (p.owner.evaluation) out.push_back(static_cast<float>(passport_accuracy(p.owner)));
    if (p.forger) out.push_back(static_cast<float>(p.forger->matched));
    for (const auto& [name, value] : p.metrics) out.push_back(static_cast<float>(value));
  }
  if (result.stolen) {
    const auto w = result.stolen->parameters().weights().to_host(result.stolen->stream());
    out.insert(out.end(), w.begin(), w.end());
  }
  return out;
}

TEST(TrainingAttacks, StartFromAnOwnerWithAllBits) {
  const Claim claim = measure_untouched(input_of(owner())).owner;
  EXPECT_EQ(claim.verdict, Verdict::kSupported);
  EXPECT_EQ(claim.matched, 256);
  EXPECT_GT(public_accuracy(claim), 0.3);
  EXPECT_GT(passport_accuracy(claim), 0.3);
}

TEST(FineTune, KeepsTheBits) {
  const AttackInput input = input_of(owner());
  std::vector<std::string> progress;
  AttackInput listening = input;
  listening.progress = [&](const std::string& line) { progress.push_back(line); };
  const AttackResult r = run("fine-tune", listening, {{"epochs", "2"}});
  EXPECT_EQ(r.axis, "epochs");
  ASSERT_EQ(r.points.size(), 3u);
  const Claim& before = r.points[0].owner;
  for (int i = 0; i < 3; ++i) {
    const AttackPoint& point = r.points[static_cast<size_t>(i)];
    EXPECT_EQ(point.x, i);
    EXPECT_EQ(point.owner.verdict, Verdict::kSupported);
    EXPECT_GT(point.owner.matched, 240);
    EXPECT_FALSE(point.forger);
    EXPECT_GT(public_accuracy(point.owner), public_accuracy(before) - 0.1);
  }
  // The owner's scale, shift and last layer on the thief's features: not far from where they were.
  EXPECT_NEAR(metric(r.points[2], "written back: public accuracy"), public_accuracy(before), 0.15);
  EXPECT_NEAR(metric(r.points[2], "written back: passport accuracy"), passport_accuracy(before),
              0.15);
  const auto released = stolen_copy(input);
  EXPECT_EQ(changed(*released, *r.stolen).size(), released->parameters().parameters().size());
  EXPECT_FALSE(progress.empty());
  EXPECT_CONTAINS(progress.back(), "epoch 2/2");
}

TEST(FineTune, OfTheLastLayerLeavesTheRest) {
  const AttackInput input = input_of(owner());
  const auto released = stolen_copy(input);
  const std::vector<std::string> last{"linear.weight", "linear.bias"};
  for (const char* mode : {"ftll", "rtll"}) {
    const AttackResult r =
        run("fine-tune", input, {{"epochs", "1"}, {"mode", mode}, {"write-back", "no"}});
    EXPECT_EQ(changed(*released, *r.stolen), last) << mode;
    EXPECT_EQ(r.points[1].owner.matched, r.points[0].owner.matched);
    EXPECT_TRUE(r.points[1].metrics.empty());
  }
}

/// A rate of zero shows what is new before training.
TEST(FineTune, ANewLastLayerAndFreshStatistics) {
  const AttackInput input = input_of(owner());
  const auto released = stolen_copy(input);
  const Settings still{{"epochs", "1"}, {"lr", "0"}};
  const auto with = [&](Settings more) {
    more.insert(still.begin(), still.end());
    return run("fine-tune", input, more);
  };
  const AttackResult kept = with({}), anew = with({{"mode", "rtal"}}),
                     fresh = with({{"fresh-statistics", "yes"}});
  EXPECT_TRUE(changed(*released, *kept.stolen).empty());
  EXPECT_EQ(changed(*released, *anew.stolen),
            (std::vector<std::string>{"linear.weight", "linear.bias"}));
  EXPECT_LT(public_accuracy(anew.points[1].owner), 0.3);
  EXPECT_TRUE(changed(*released, *fresh.stolen).empty());
  const auto statistics = [](const AttackResult& r) {
    return r.stolen->parameters().buffer_arena().to_host(r.stolen->stream());
  };
  EXPECT_NE(statistics(fresh), statistics(kept));
  // At the passport's sites alone; the other layers saw the same images.
  for (const Buffer& b : fresh.stolen->parameters().buffers()) {
    const Buffer* same = kept.stolen->parameters().find_buffer(b.spec.name);
    ASSERT_NE(same, nullptr) << b.spec.name;
    const bool site = b.spec.name.starts_with("conv3.") || b.spec.name.starts_with("conv4.");
    EXPECT_EQ(b.value.to_host(input.model.stream()) != same->value.to_host(input.model.stream()),
              site)
        << b.spec.name;
  }
}

/// deepipr-v1 releases the passport's scale. Its program reads the bits from what became of it.
TEST(FineTune, TellsTheBitsInTheThiefsScale) {
  const std::string name = "bits in the thief's scale";
  AttackInput input = input_of(owner("deepipr-v1"));
  const Settings still{{"epochs", "1"}, {"lr", "0"}};
  const AttackResult same = run("fine-tune", input, still);
  const Claim& claim = same.points[0].owner;
  EXPECT_EQ(metric(same.points[1], name), static_cast<double>(claim.matched) / 256);

  const auto turned = stolen_copy(input);  // conv3's scale the other way around
  change(*turned, "conv3.bn.weight", [](std::vector<float>& v) {
    for (float& scale : v) scale = -scale;
  });
  input.stolen = turned.get();
  const AttackPoint point = run("fine-tune", input, still).points[1];
  EXPECT_EQ(metric(point, name),
            static_cast<double>(128 - claim.sites[0].matched + claim.sites[1].matched) / 256);
  EXPECT_EQ(point.owner.matched, claim.matched);  // the weights read as they did

  for (const auto& [known, value] : run("fine-tune", input_of(owner()), still).points[1].metrics)
    EXPECT_NE(known, name);  // pan releases a scale of its own
}

TEST(FineTune, OnAnotherTask) {
  AttackInput input = input_of(owner());
  const auto seven = [](const train::Dataset& set) {
    train::Dataset other = set;
    other.classes = 7;
    other.class_names.resize(7);
    for (int32_t& label : other.labels) label %= 7;
    return other;
  };
  const train::Dataset train = seven(*input.train), test = seven(*input.test);
  EXPECT_CONTAINS(test::refusal(Fault::kUsage,
                                [&] {
                                  run("fine-tune", input, {{"task", "other"}});
                                }),
                  "another task");
  input.other_train = &train;
  input.other_test = &test;
  const AttackResult r =
      run("fine-tune", input, {{"task", "other"}, {"epochs", "2"}, {"lr", "0.01"}});
  EXPECT_EQ(r.stolen->options().classes, 7);
  ASSERT_EQ(r.points.size(), 3u);
  // The untouched network has no accuracy on it.
  EXPECT_CONTAINS(r.axis, "the other task");
  EXPECT_EQ(r.points[0].owner.matched, 256);
  EXPECT_FALSE(r.points[0].owner.evaluation);
  EXPECT_TRUE(r.points[0].metrics.empty());
  EXPECT_EQ(r.points[2].owner.verdict, Verdict::kSupported);
  EXPECT_EQ(r.points[2].owner.total, 256);
  EXPECT_EQ(r.points[2].owner.evaluation.value().images, test.n);
  EXPECT_GT(metric(r.points[2], "written back: public accuracy"), 0.2);
}

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

struct Quick {
  const char* name;
  Settings settings;
};
class EveryTrainingAttack : public testing::TestWithParam<Quick> {};

/// (That the same seed gives the same bytes is tested of all attacks in attacks_test.cpp.)
TEST_P(EveryTrainingAttack, DependsOnTheSeed) {
  const Owner nobody = untrained();
  AttackInput input = input_of(nobody);
  const auto first = run(GetParam().name, input, GetParam().settings);
  input.seed = 2;
  const auto other = run(GetParam().name, input, GetParam().settings);
  EXPECT_NE(numbers_of(first), numbers_of(other));
}

TEST_P(EveryTrainingAttack, RefusesBeforeItWorks) {
  const Owner nobody = untrained();
  AttackInput input = input_of(nobody);
  input.progress = [](const std::string& line) { ADD_FAILURE() << "started: " << line; };
  const auto refuse = [&](const Settings& settings) {
    return test::refusal(Fault::kUsage, [&] { run(GetParam().name, input, settings); });
  };
  EXPECT_CONTAINS(refuse({{"epochs", "0"}}), "epochs");
  EXPECT_CONTAINS(refuse({{"lr", "fast"}}), "lr");
  EXPECT_CONTAINS(refuse({{"weight-decay", "-1"}}), "weight-decay");
  input.batch = 1000;
  EXPECT_CONTAINS(refuse({}), "batch");
  input.train = nullptr;
  EXPECT_CONTAINS(refuse({}), "training data");
}

INSTANTIATE_TEST_SUITE_P(Rows, EveryTrainingAttack,
                         testing::Values(Quick{"fine-tune", {{"epochs", "1"}}},
                                         Quick{"overwrite", {{"epochs", "1"}}},
                                         Quick{"fake2", {{"epochs", "1"}}},
                                         Quick{"fake3", {{"epochs", "1"}, {"flips", "0.3"}}},
                                         Quick{"ambiguity-1", {{"epochs", "1"}}},
                                         Quick{"ambiguity-2", {{"epochs", "1"}, {"flips", "0.3"}}},
                                         Quick{"erb", {{"epochs", "1"}, {"share", "1"}}}),
                         [](const auto& row) {
                           std::string name = row.param.name;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace passnorm::verify
