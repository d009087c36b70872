// Accuracy on triggers, which attacks measure beside that on the test set: given the test set as
// triggers it is the same number.
#include "tests/verify/victim.hpp"

namespace passnorm::verify {
namespace {

using Settings = std::map<std::string, std::string>;

AttackResult run(const Victim& v, const char* name, const Settings& settings) {
  AttackInput input = v.input();
  input.triggers = &v.test;
  const Attack& a = attack(name);
  return a.run(input, AttackSettings(a.settings, settings));
}

TEST(AttackTriggers, AreMeasuredOnTheAttackedNetwork) {
  const std::pair<const char*, Settings> attacks[] = {{"prune", {{"rates", "0.5,0.9"}}},
                                                      {"flip", {{"shares", "0.5"}}},
                                                      {"fine-tune", {{"epochs", "1"}}}};
  for (const char* scheme : {"pan", "deepipr-v2", "deepipr-v1"}) {
    const Victim v(scheme);
    for (const auto& [name, settings] : attacks) {
      SCOPED_TRACE(concat(scheme, " ", name));
      const AttackResult r = run(v, name, settings);
      ASSERT_GE(r.points.size(), 2u);
      for (const AttackPoint& p : r.points) {
        ASSERT_TRUE(p.triggers && p.owner.evaluation);
        EXPECT_EQ(text(p.triggers), text(p.owner.evaluation));
      }
      EXPECT_NE(text(r.points.back().triggers), text(r.points.front().triggers));
    }
  }
}

/// The owner's network with the thief's features, on his test set and on his triggers.
TEST(AttackTriggers, OfWhatIsWrittenBack) {
  const AttackPoint p = run(Victim("pan"), "fine-tune", {{"epochs", "1"}}).points.at(1);
  for (const std::string branch : {"public", "passport"})
    EXPECT_EQ(metric(p, "written back: " + branch + " trigger accuracy"),
              metric(p, "written back: " + branch + " accuracy"));
}

}  // namespace
}  // namespace passnorm::verify
