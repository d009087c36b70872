// passnorm report --markdown: the rows that a reader needs, with intervals.
#include <sstream>

#include "tests/cli/report.hpp"

namespace passnorm::test {
namespace {

class ReportMarkdown : public Report {
 protected:
  /// Cells of every row of the tables of one folder's attacks.
  std::vector<std::vector<std::string>> rows(const std::string& folder) {
    tables_ = report({folder}).tables;
    std::vector<std::vector<std::string>> out;
    std::istringstream lines(tables_);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("| ")) continue;
      auto& cells = out.emplace_back();
      std::string cell;
      for (size_t i = 2; i < line.size(); ++i) {
        if (line[i] != '|' || line[i - 1] == '\\') {
          cell += line[i];
          continue;
        }
        cells.push_back(cell.substr(0, cell.size() - 1));
        cell.clear();
        ++i;  // the blank
      }
      EXPECT_EQ(cells.size(), 6u) << line;
    }
    return out;
  }
  std::string tables_;
};

using Row = std::vector<std::string>;

TEST_F(ReportMarkdown, AnAttackIsShownUntilTheTaskBreaks) {
  Json a = prune();
  a["test_images"] = 1000;
  write("d/attack-prune.json", a);
  const auto all = rows("d");
  ASSERT_EQ(all.size(), 5u);
  EXPECT_EQ(all[0], (Row{"attack", "public, %", "passport, %", "bits [% that match]", "log2 p",
                         "verdict"}));
  EXPECT_EQ(all[1], (Row{"before", "81.2 [78.7, 83.5]", "80.0 [77.4, 82.4]",
                         "256/256 [98.6, 100.0]", "-124.0", "supported"}));
  EXPECT_EQ(all[2][0], "prune, 20%");
  EXPECT_EQ(all[3][0], "prune, 40%");
  EXPECT_EQ(all[4][0], "prune, 60%");  // the first that breaks it, with what is left of the bits
  EXPECT_EQ(all[4][3].substr(0, 7), "200/256");
  EXPECT_EQ(all[4][5], "not supported");
  EXPECT_CONTAINS(tables_, "**tiny, pan, batch norm**, cifar10; 1 network; the attacks had 2000 ");
  EXPECT_CONTAINS(tables_, "95% intervals");
}

TEST_F(ReportMarkdown, OfTrainingTheEndCounts) {
  Json a = attack("fine-tune", {point(0, claim(256, accuracy(0.8, 0.8))),
                                point(1, claim(255, accuracy(0.5, 0.5))),
                                point(2, claim(254, accuracy(0.81, 0.7)))});
  a["axis"] = "epochs";
  write("d/attack-fine-tune.json", a);
  const auto all = rows("d");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2][0], "fine-tune, epoch 2");
  EXPECT_EQ(all[2][1], "81.0");
}

TEST_F(ReportMarkdown, AForgerHasARowOfHisOwn) {
  const Json owner = claim(256, accuracy(0.8, 0.79));
  const Json forger = claim(140, accuracy(0.8, 0.3), "not supported");
  Json a = attack("fake3", {point(0, owner), point(0.1, owner, forger), point(0.5, owner, forger)});
  a["axis"] = "share of bits flipped";
  write("d/attack-fake3.json", a);
  a["attack"] = "gauge";
  write("d/attack-gauge.json", a);
  const auto all = rows("d");
  std::vector<std::string> names;
  for (const Row& row : all) names.push_back(row[0]);
  EXPECT_EQ(names, (std::vector<std::string>{"attack", "before", "gauge, 10%", "gauge, 10%: forger",
                                             "gauge, 50%", "gauge, 50%: forger",
                                             "fake3, 10%: forger", "fake3, 50%: forger"}));
  EXPECT_EQ(all[3], (Row{"gauge, 10%: forger", "80.0", "30.0", "140/256 [48.4, 60.9]", "-66.0",
                         "not supported"}));
}

TEST_F(ReportMarkdown, RandomPassportsAreCounted) {
  Json a = attack("fake1", {point(0, claim(256, accuracy(0.8, 0.8))),
                            point(10000, claim(256, accuracy(0.8, 0.8)),
                                  claim(158, accuracy(0.8, 0.3), "not supported"))});
  a["axis"] = "random passports";
  a["points"][1]["metrics"] = {{"own bits, best", 158},
                               {"own bits, mean", 128.04},
                               {"own bits, 1% quantile", 109},
                               {"own bits, 99% quantile", 147},
                               {"accuracy, mean of sample", 0.1084},
                               {"accuracy, best of sample", 0.25}};
  write("d/attack-fake1.json", a);
  const auto all = rows("d");
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[2], (Row{"fake1, 10000 passports: all", "-", "mean 10.8, best 25.0",
                         "mean 128.0, 1% 109, 99% 147, best 158", "-", "-"}));
  EXPECT_EQ(all[3][0], "fake1, 10000 passports: forger");
}

TEST_F(ReportMarkdown, SeedsAreOneTable) {
  for (const char* sha : {"aa", "bb"}) write(sha + std::string("/attack-prune.json"), prune(sha));
  const Made m = report({"aa", "bb"});
  EXPECT_CONTAINS(m.tables, "; 2 networks;");
  EXPECT_CONTAINS(m.tables, "| before | 81.2 [81.2, 81.2] |");
  EXPECT_CONTAINS(m.tables, "| 512/512 [99.3, 100.0] |");
}

}  // namespace
}  // namespace passnorm::test
