#include <gtest/gtest.h>

#include "tests/support/files.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::verify {
namespace {

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

}  // namespace
}  // namespace passnorm::verify
