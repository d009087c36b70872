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
  a["settings"] = {{"count", "10000"}, {"sample", "20"}};
  write("d/attack-fake1.json", a);
  const auto all = rows("d");
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[2], (Row{"fake1, 10000 passports: all", "-", "mean 10.8, best of 20 of them 25.0",
                         "mean 128.0, 1% 109, 99% 147, best 158 of 256", "-", "-"}));
  EXPECT_EQ(all[3][0], "fake1, 10000 passports: forger");
}

TEST_F(ReportMarkdown, OneSeedHasTheIntervalsOfItsCounts) {
  // A network of each scheme, one seed: what an interval can be of are images and bits.
  const Json owner = claim(256, accuracy(0.8125, 0.8)),
             forger = claim(140, accuracy(0.8125, 0.3), "not supported");
  for (const char* scheme : {"pan", "deepipr-v2"}) {
    const std::string folder = scheme;
    folder_.write(folder + "/config.toml",
                  concat("model = \"tiny\"\nscheme = \"", scheme,
                         "\"\nnorm = \"batch\"\ndata = \"cifar10:data\"\nseed = 7\n"));
    Json pruned = prune(scheme, scheme);
    Json tuned = attack("fine-tune",
                        {point(0, claim(256, accuracy(nullptr, nullptr))),
                         point(3, claim(255, accuracy(0.5, nullptr)))},
                        scheme, scheme);
    tuned["axis"] = "epochs on the other task, whose test set the accuracy is of";
    tuned["settings"] = {{"task", "other"}};
    Json strangers = attack("fake1", {point(0, owner), point(100, owner, forger)}, scheme, scheme);
    strangers["axis"] = "random passports";
    strangers["points"][1]["metrics"] = {{"own bits, mean", 128.04}};
    Json forged = attack("fake3", {point(0, owner), point(0.5, owner, forger)}, scheme, scheme);
    for (Json* a : {&pruned, &tuned, &strangers, &forged}) {
      (*a)["test_images"] = 1000;
      (*a)["other_test_images"] = 0;
      write(concat(folder, "/attack-", (*a)["attack"].get<std::string>(), ".json"), *a);
    }
  }
  const std::string tables = report({"pan", "deepipr-v2"}, {"--with-seeds"}).tables;
  size_t lines = 0;
  std::istringstream text(tables);
  for (std::string row; std::getline(text, row);) {
    if (!row.starts_with("| ")) continue;
    EXPECT_EQ(row.find("|  |"), std::string::npos) << "an empty cell: " << row;
    EXPECT_EQ(row.find("||"), std::string::npos) << row;
    ++lines;
  }
  EXPECT_EQ(lines, 2u * (1 + 1 + 3 + 1 + 2 + 1));  // heads; before; prune, fine-tune, fake1, fake3
  for (const char* none : {"nan", "inf", "+-", "\u00b1"})
    EXPECT_EQ(tables.find(none), std::string::npos) << none;
  for (const char* network : {"tiny, pan", "tiny, deepipr-v2"})
    EXPECT_CONTAINS(tables, concat("**", network, ", batch norm**, cifar10; 1 network, seed 7; "));
  // Wilson's of 1000 images, Clopper and Pearson's of 256 bits; log2 p without a range.
  EXPECT_CONTAINS(tables,
                  "| before | 81.2 [78.7, 83.5] | 80.0 [77.4, 82.4] | 256/256 [98.6, 100.0] | "
                  "-124.0 | supported |\n");
  // Of the other task the number of images is not known, and there is no passport branch.
  EXPECT_CONTAINS(tables, "| fine-tune, epoch 3 | 50.0 | - | 255/256 [97.8, 100.0] | -123.5 | ");
  EXPECT_CONTAINS(tables, "| fake1, 100 passports: all | - | - | mean 128.0 of 256 | - | - |\n");
}

TEST_F(ReportMarkdown, ANetworkWithoutPublicBranchHasNone) {
  Json a = attack("prune",
                  {point(0, claim(256, accuracy(nullptr, 0.8))),
                   point(0.5, claim(256, accuracy(nullptr, 0.75)))},
                  "aa", "deepipr-v1");
  a["points"][1]["metrics"] = {{"stolen accuracy", 0.625}};
  write("d/attack-prune.json", a);
  const auto all = rows("d");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1][1], "-");
  EXPECT_EQ(all[1][2], "80.0");
  EXPECT_EQ(all[2][1], "62.5");
  EXPECT_EQ(all[2][2], "75.0");
}

TEST_F(ReportMarkdown, LimitsThatDifferAreAllNamed) {
  Json a = prune();
  write("d/attack-prune.json", a);
  a["attack"] = "quantise";
  a["limit_train"] = 0;
  write("d/attack-quantise.json", a);
  rows("d");
  EXPECT_CONTAINS(tables_, "the attacks had 2000 or all training images, accuracy is of 1000 test");
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
