#include <gtest/gtest.h>

#include "tests/support/files.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::verify {
namespace {

constexpr AttackSetting kKnown[] = {
    {"rates", "0..1:0.1", numbers_in(-10, 10), ""},  {"count", "7", integer_in(0, 10), ""},
    {"share", "0.5", number_in(0, 1), ""},           {"on", "yes", yes_or_no(), ""},
    {"formats", "8,4", some_of("bf16 | 8 | 4"), ""}, {"name", "", any_text(), ""},
    {"schedule", "constant", any_schedule(), ""}};

TEST(Settings, HaveDefaultsAndTakeWhatIsGiven) {
  const AttackSettings s(kKnown, {{"share", "0.25"}, {"formats", "4,bf16"}});
  EXPECT_EQ(s.integer("count"), 7);
  EXPECT_EQ(s.number("share"), 0.25);
  EXPECT_TRUE(s.flag("on"));
  EXPECT_FALSE(AttackSettings(kKnown, {{"on", "no"}}).flag("on"));
  EXPECT_EQ(s.texts("formats"), (std::vector<std::string>{"4", "bf16"}));
  EXPECT_EQ(AttackSettings(kKnown, {{"name", "a,b | c"}}).text("name"), "a,b | c");
  EXPECT_EQ(AttackSettings(kKnown, {{"schedule", "warmup:5+step:20:0.7:1"}}).text("schedule"),
            "warmup:5+step:20:0.7:1");
  EXPECT_EQ(s.all().at("rates"), "0..1:0.1");
  // The very numbers that a reader would write.
  EXPECT_EQ(s.numbers("rates"),
            (std::vector<double>{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1}));
  const auto numbers = [](const std::string& text) {
    return AttackSettings(kKnown, {{"rates", text}}).numbers("rates");
  };
  EXPECT_EQ(numbers("3"), (std::vector<double>{3}));
  EXPECT_EQ(numbers("1,0.5,-2e-1"), (std::vector<double>{1, 0.5, -0.2}));
  EXPECT_EQ(numbers("2..2:1"), (std::vector<double>{2}));
  EXPECT_EQ(numbers("-1..1:0.5"), (std::vector<double>{-1, -0.5, 0, 0.5, 1}));
  EXPECT_EQ(numbers("10,-10"), (std::vector<double>{10, -10}));
}

/// Before anything reads them: an attack that is given them has not begun.
TEST(Settings, RefuseWhatIsWrongInOneLine) {
  const auto refused = [](const char* name, const char* value) {
    return test::refusal(Fault::kUsage, [&] { AttackSettings(kKnown, {{name, value}}); });
  };
  for (const char* bad : {"", "7.5", "11", "-1", " 7", "7x", "nan"})
    EXPECT_CONTAINS(refused("count", bad), "setting count: an integer from 0 to 10 was expected");
  for (const char* bad : {"", "2", "nan", "inf", "x", "0.5,0.6"})
    EXPECT_CONTAINS(refused("share", bad), "setting share: a number from 0 to 1 was expected");
  for (const char* bad : {"", ",", "0,,1", "0,11", "0..1", "0..1:0", "0..1:-0.1", "1..0:0.1",
                          "0..1:0.3", "0..1:1e-9", "0:1..2", "nan", "0..11:1"})
    EXPECT_CONTAINS(refused("rates", bad), "setting rates: numbers from -10 to 10");
  for (const char* bad : {"true", "", "yes,no", "yes | no"})
    EXPECT_CONTAINS(refused("on", bad), "setting on: yes | no was expected");
  for (const char* bad : {"7", "", "8,", "8 | 4", "8, 4"})
    EXPECT_CONTAINS(refused("formats", bad), "setting formats: some of bf16 | 8 | 4");
  for (const char* bad : {"", "fast", "step:0:0.5", "step:20", "cosine:3"})
    EXPECT_CONTAINS(refused("schedule", bad), "setting schedule: constant, multistep:E,E..");
  EXPECT_CONTAINS(refused("rate", "1"),
                  "unknown setting \"rate\"; did you mean rates?; known: rates, count");
}

TEST(Settings, EveryAttackTakesItsDefaults) {
  for (const Attack& a : attacks()) EXPECT_NO_THROW(AttackSettings(a.settings, {})) << a.name;
}

}  // namespace
}  // namespace passnorm::verify
