// The gradient of every operation of engine/ops/ops.hpp against difference quotients (the cases:
// ops_cases.hpp). The header is read to see that no operation lacks one.
#include <filesystem>
#include <regex>
#include <set>

#include "engine/io/file.hpp"
#include "tests/engine/ops_cases.hpp"

namespace passnorm::test {
namespace {

class OpGradient : public testing::TestWithParam<OpCase> {};

TEST_P(OpGradient, IsTheDifferenceQuotient) {
  const Checked c = GetParam().make();
  check_gradients(poisoned(), c.leaves, c.f, {.roundings = c.roundings});
}

/// The same operation twice on the same inputs, which have memory for their gradients as parameters
/// have: the first contribution overwrites, the second adds.
TEST_P(OpGradient, AccumulatesOverUses) {
  const Checked c = GetParam().make();
  for (const Leaf& l : c.leaves) l.var.gradient->value = Tensor::empty(poisoned(), l.var.shape());
  const auto twice = [&](Evaluation& e) { c.f(e), c.f(e); };
  check_gradients(poisoned(), c.leaves, twice, {.roundings = c.roundings + 1});
}

TEST_P(OpGradient, IsNotRecordedInForwardOnlyMode) {
  const Checked c = GetParam().make();
  check_records_nothing(poisoned(), c.leaves, c.f);
}

INSTANTIATE_TEST_SUITE_P(Ops, OpGradient, testing::ValuesIn(op_cases()),
                         testing::PrintToStringParamName());

/// The scale of losses is a factor of every loss's gradient (4 is exact in floating point).
TEST(OpGradients, OfLossesHaveTheScaleOfTheTape) {
  for (const OpCase& c : op_cases()) {
    const std::string op = c.op;
    if (op != "cross_entropy" && op != "sign_loss" && op != "orthogonality_loss") continue;
    const auto gradient = [&](float loss_scale) {
      const Checked made = c.make();
      Tape tape(poisoned(), Tape::Mode::kRecord, loss_scale);
      if (op == "cross_entropy")
        ops::cross_entropy(tape, made.leaves[0].var, labels(std::vector<int32_t>(3, 1)));
      else if (op == "orthogonality_loss")
        ops::orthogonality_loss(tape, made.leaves[0].var, {});
      else
        ops::sign_loss(tape, made.leaves[0].var, {7},
                       Tensor::from<int8_t>(poisoned(), {7}, std::vector<int8_t>(7, 1)), {});
      return made.leaves[0].var.gradient->value.to_host(poisoned());
    };
    std::vector<float> expected = gradient(1);
    for (float& v : expected) v *= 4;
    EXPECT_EQ(gradient(4), expected) << op << " " << c.name;
  }
}

TEST(OpGradients, EveryOperationOfTheHeaderIsChecked) {
  const auto header = std::filesystem::path(__FILE__).parent_path() / "../../engine/ops/ops.hpp";
  const std::vector<std::byte> bytes = read_file(header.string(), 1 << 20);
  const std::string text(text_of(bytes));
  const std::regex declaration(R"((\w+)\(Tape& tape)");
  std::set<std::string> declared, checked;
  for (std::sregex_iterator it(text.begin(), text.end(), declaration), end; it != end; ++it)
    declared.insert((*it)[1]);
  for (const OpCase& c : op_cases()) checked.insert(c.op);
  EXPECT_EQ(declared, checked);
  EXPECT_GE(declared.size(), 12u);
}

}  // namespace
}  // namespace passnorm::test
