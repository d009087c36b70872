// Every attack of the registry: what all have in common, and what each does to the numbers.
#include "verify/attacks/attack.hpp"

#include <cmath>
#include <set>

#include "models/copy.hpp"
#include "models/model_file.hpp"
#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "tests/verify/carry.hpp"
#include "train/data/synthetic.hpp"
#include "verify/attacks/prune.hpp"
#include "verify/attacks/quantise.hpp"
#include "verify/attacks/training.hpp"
#include "verify/statistics.hpp"

namespace passnorm::verify {
namespace {

using kernels::NormKind;
using test::network_stream;

/// A network whose owner's bits all match, as after training, and data.
struct Victim {
  std::unique_ptr<Model> model;
  std::optional<Passport> passport;
  train::Dataset train = train::synthetic({.train = 40, .test = 30}, train::Split::kTrain);
  train::Dataset test = train::synthetic({.train = 40, .test = 30}, train::Split::kTest);
  train::Dataset other_train =
      train::synthetic({.train = 40, .test = 30, .seed = 2}, train::Split::kTrain);
  train::Dataset other_test =
      train::synthetic({.train = 40, .test = 30, .seed = 2}, train::Split::kTest);

  explicit Victim(const char* scheme, NormKind norm = NormKind::kBatch,
                  const char* architecture = "tiny", const char* sites = "last") {
    model = models::make(architecture,
                         {.norm = norm, .plan = PassportPlan::of(scheme, sites), .seed = 3},
                         network_stream());
    test::unsettle(*model);
    passport = Passport::random(model->sites(), test::secret(1), Signature::from_text("owner"));
    test::carry(*model, *passport);
  }

  AttackInput input(uint64_t seed = 1) const {
    return {.model = *model,
            .passport = *passport,
            .train = &train,
            .test = &test,
            .other_train = &other_train,
            .other_test = &other_test,
            .seed = seed,
            .batch = 20};
  }
  AttackResult run(const char* name, const std::map<std::string, std::string>& settings,
                   uint64_t seed = 1) const {
    const Attack& a = attack(name);
    return a.run(input(seed), AttackSettings(a.settings, settings));
  }
  int64_t bits() const { return passport->bit_count(); }
};

/// Small enough for a test, whatever the attack.
std::map<std::string, std::string> quick_settings(const Attack& a) {
  const std::map<std::string, std::string> quick = {
      {"epochs", "1"},      {"rates", "0,0.5,1"}, {"shares", "0,0.5,1"},
      {"count", "300"},     {"sample", "2"},      {"sample-images", "10"},
      {"formats", "f16,4"}, {"flips", "0.5"},     {"share", "1"}};
  std::map<std::string, std::string> out;
  for (const AttackSetting& s : a.settings)
    if (const auto it = quick.find(std::string(s.name)); it != quick.end()) out.insert(*it);
  return out;
}

std::string text(const std::optional<train::Evaluation>& e) {
  if (!e) return "-";
  const auto value = [](const std::optional<double>& v) { return v ? concat(*v) : "-"; };
  return concat(e->images, " ", value(e->public_accuracy), " ", value(e->passport_accuracy), " ",
                value(e->public_loss), " ", value(e->passport_loss));
}

std::string text(const Claim& c) {
  std::string out = concat(name_of(c.verdict), " ", c.bits_bound, " ", c.matched, "/", c.total, " ",
                           c.log2_p, " ", c.log2_tests, " ", c.signature.text);
  for (const SiteReport& s : c.sites) out += concat(" ", s.name, " ", s.matched, "/", s.total);
  return out + " " + text(c.evaluation);
}

/// Everything that a point says, in as many digits as tell numbers apart.
std::string text(const AttackPoint& p) {
  std::ostringstream out;
  out.precision(17);
  out << p.x << "; owner " << text(p.owner) << "; forger " << (p.forger ? text(*p.forger) : "-")
      << "; triggers " << text(p.triggers);
  for (const auto& [name, value] : p.metrics) out << "; " << name << " " << value;
  return out.str();
}

double metric(const AttackPoint& p, const std::string& name) {
  for (const auto& [known, value] : p.metrics)
    if (known == name) return value;
  ADD_FAILURE() << "no metric " << name;
  return NAN;
}

/// All that must stay as it is.
std::vector<std::byte> bytes_of_victim(const Victim& v) {
  std::vector<std::byte> out;
  const auto add = [&](std::span<const std::byte> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
  };
  for (const Tensor* t :
       {&v.model->parameters().weights(), &v.model->parameters().buffer_arena()}) {
    const std::vector<float> values = t->to_host(v.model->stream());
    add(std::as_bytes(std::span(values)));
  }
  add(v.passport->bytes());
  for (const train::Dataset* set : {&v.train, &v.test}) add(std::as_bytes(std::span(set->images)));
  return out;
}

struct RunCase {
  std::string_view attack;
  const char* scheme;
};
class Attacks : public testing::TestWithParam<RunCase> {};

TEST_P(Attacks, KeepTheOriginalAndRepeatThemselves) {
  const Attack& a = attack(GetParam().attack);
  const Victim victim(GetParam().scheme);
  const auto before = bytes_of_victim(victim);
  const auto run = [&](uint64_t seed) {
    return a.run(victim.input(seed), AttackSettings(a.settings, quick_settings(a)));
  };
  const AttackResult result = run(1);
  EXPECT_EQ(bytes_of_victim(victim), before);

  ASSERT_GE(result.points.size(), 2u);
  EXPECT_FALSE(result.axis.empty());
  const AttackPoint& first = result.points[0];
  EXPECT_EQ(first.x, 0);
  const auto untouched = models::copy_of(*victim.model);
  EXPECT_EQ(text(first.owner), text(examine(*untouched, *victim.passport,
                                            {.data = &victim.test, .null_passports = 0})));
  EXPECT_EQ(first.owner.verdict, Verdict::kSupported);
  for (const AttackPoint& p : result.points)
    for (const auto& [name, value] : p.metrics) EXPECT_TRUE(std::isfinite(value)) << name;

  const AttackResult again = run(1);
  ASSERT_EQ(again.points.size(), result.points.size());
  for (size_t i = 0; i < result.points.size(); ++i)
    EXPECT_EQ(text(again.points[i]), text(result.points[i]));
  ASSERT_EQ(static_cast<bool>(again.stolen), static_cast<bool>(result.stolen));
  if (!result.stolen) return;

  // What is left is an ordinary network: it can be released, and attacked further.
  EXPECT_TRUE(result.stolen->sites().empty());
  const auto bytes = [](const Model& m) { return models::released_form(m, {{0}, {1}}).bytes(); };
  EXPECT_EQ(bytes(*again.stolen), bytes(*result.stolen));
  EXPECT_NE(bytes(*result.stolen), bytes(*stolen_copy(victim.input())));
}

std::vector<RunCase> run_cases() {
  std::vector<RunCase> out;
  for (const Attack& a : attacks())
    for (const char* scheme : {"pan", "deepipr-v2", "deepipr-v1"}) out.push_back({a.name, scheme});
  return out;
}
std::string name_of_case(const testing::TestParamInfo<RunCase>& p) {
  std::string name = concat(p.param.attack, "_", p.param.scheme);
  std::ranges::replace_if(
      name, [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Every, Attacks, testing::ValuesIn(run_cases()), name_of_case);

TEST(AttackRegistry, NamesAreUniqueAndTheNearestIsNamed) {
  std::set<std::string_view> names;
  for (const Attack& a : attacks()) {
    EXPECT_TRUE(names.insert(a.name).second) << a.name;
    EXPECT_FALSE(a.description.empty() || a.source.empty()) << a.name;
    EXPECT_EQ(&attack(a.name), &a);
    std::set<std::string_view> settings;
    for (const AttackSetting& s : a.settings) EXPECT_TRUE(settings.insert(s.name).second) << s.name;
  }
  const std::string unknown = test::refusal(Fault::kUsage, [] { attack("prunee"); });
  EXPECT_CONTAINS(unknown, "did you mean prune?");
  EXPECT_CONTAINS(unknown, "fake1");
}

// --- settings

constexpr AttackSetting kKnown[] = {
    {"rates", "0..1:0.1", ""}, {"count", "7", ""}, {"share", "0.5", ""}, {"on", "yes", ""}};

TEST(Settings, HaveDefaultsAndTakeWhatIsGiven) {
  const AttackSettings s(kKnown, {{"share", "0.25"}});
  EXPECT_EQ(s.integer("count", 0, 10), 7);
  EXPECT_EQ(s.number("share", 0, 1), 0.25);
  EXPECT_TRUE(s.flag("on"));
  EXPECT_EQ(s.choice("on", {"yes", "maybe"}), "yes");
  EXPECT_EQ(s.all().at("rates"), "0..1:0.1");
  // The very numbers that a reader would write.
  EXPECT_EQ(s.numbers("rates", 0, 1),
            (std::vector<double>{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}));
  const auto numbers = [](const std::string& text) {
    return AttackSettings(kKnown, {{"rates", text}}).numbers("rates", -10, 10);
  };
  EXPECT_EQ(numbers("3"), (std::vector<double>{3}));
  EXPECT_EQ(numbers("1,0.5,-2e-1"), (std::vector<double>{1, 0.5, -0.2}));
  EXPECT_EQ(numbers("2..2:1"), (std::vector<double>{2}));
  EXPECT_EQ(numbers("-1..1:0.5"), (std::vector<double>{-1, -0.5, 0, 0.5, 1}));
}

TEST(Settings, RefuseWhatIsWrongInOneLine) {
  const auto refused = [](const char* name, const char* value, auto&& read) {
    const AttackSettings s(kKnown, {{name, value}});
    return test::refusal(Fault::kUsage, [&] { read(s); });
  };
  for (const char* bad : {"", "7.5", "11", "-1", " 7", "7x", "nan"})
    EXPECT_CONTAINS(refused("count", bad, [](const auto& s) { s.integer("count", 0, 10); }),
                    "setting count: an integer from 0 to 10");
  for (const char* bad : {"", "2", "nan", "inf", "x", "0.5,0.6"})
    EXPECT_CONTAINS(refused("share", bad, [](const auto& s) { s.number("share", 0, 1); }),
                    "setting share: a number from 0 to 1");
  for (const char* bad : {"", ",", "0,,1", "0,2", "0..1", "0..1:0", "0..1:-0.1", "1..0:0.1",
                          "0..1:0.3", "0..1:1e-9", "0:1..2", "nan", "0..2:1"})
    EXPECT_CONTAINS(refused("rates", bad, [](const auto& s) { s.numbers("rates", 0, 1); }),
                    "setting rates: numbers from 0 to 1");
  EXPECT_CONTAINS(refused("on", "true", [](const auto& s) { s.flag("on"); }), "yes | no");
  EXPECT_CONTAINS(test::refusal(Fault::kUsage,
                                [] {
                                  AttackSettings(kKnown, {{"rate", "1"}});
                                }),
                  "unknown setting \"rate\"; did you mean rates?; known: rates, count");
}

// --- prune

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
    Victim v("deepipr-v2", NormKind::kBatch, row.architecture, row.sites);
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
  for (const int64_t i : random_choice(total, total * 3 / 10, 1, 1)) {
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

// --- fake1

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
  double accuracies = 0;
  for (int64_t i = 0; i < 3; ++i) {
    const OpenPassport open = model->open(forged(i));
    accuracies += *train::evaluate(*model, &open, v.test, {.limit = 20}).passport_accuracy;
  }
  EXPECT_NEAR(metric(point, "accuracy, mean of sample"), accuracies / 3, 1e-12);
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
  const Victim v("pan", NormKind::kGroup);
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { v.run("gauge", {}); }), "group");
}

// --- chains

TEST(Chain, GoesOnFromWhatIsLeft) {
  for (const char* scheme : {"pan", "deepipr-v1"}) {
    SCOPED_TRACE(scheme);
    const Victim v(scheme);
    const AttackInput input = v.input();
    const AttackResult pruned = v.run("prune", {{"rates", "0.5"}});
    const auto judged = before_judge(input, *pruned.stolen);
    const AttackInput next{
        .model = *judged, .passport = *v.passport, .stolen = pruned.stolen.get(), .test = &v.test};
    const Attack& quantise = attack("quantise");
    const AttackResult both =
        quantise.run(next, AttackSettings(quantise.settings, {{"formats", "4"}}));
    EXPECT_EQ(text(both.points[0].owner), text(pruned.points[1].owner));
    // Zeros stay zeros: they are still there, and none is on any other attack's account.
    int64_t zeros = 0, total = 0;
    for (const Parameter& p : both.stolen->parameters().parameters())
      for (const float w : p.var.value.to_host(both.stolen->stream())) zeros += w == 0, ++total;
    EXPECT_GE(zeros, total / 2);
  }
}

}  // namespace
}  // namespace passnorm::verify
