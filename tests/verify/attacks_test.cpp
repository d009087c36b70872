// Every attack of the registry: what all have in common.
#include "verify/attacks/attack.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "models/copy.hpp"
#include "models/model_file.hpp"
#include "tests/support/files.hpp"
#include "tests/verify/victim.hpp"

namespace passnorm::verify {
namespace {

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
