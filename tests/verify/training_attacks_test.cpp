// What holds of every attack that trains.
#include "tests/support/files.hpp"
#include "tests/verify/owner.hpp"

namespace passnorm::verify {
namespace {

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
