// passnorm report on several seeds: networks and attacks that differ in nothing else are one line,
// with intervals.
#include "tests/cli/report.hpp"

namespace passnorm::test {
namespace {

/// One point of a network of its own.
Json pruned(const std::string& sha256, double released, int64_t matched, int64_t seed = 1,
            const char* verdict = "supported") {
  Json a = attack(
      "prune", Json::array({point(0.5, claim(matched, accuracy(released, released / 2), verdict))}),
      sha256);
  a["seed"] = seed;
  return a;
}

class ReportPool : public Report {
 protected:
  /// Each in a folder of its own.
  Json networks(const std::vector<Json>& attacks) {
    std::vector<std::string> folders;
    for (size_t i = 0; i < attacks.size(); ++i) {
      folders.push_back(concat("d", written_++));
      write(folders.back() + "/attack-a.json", attacks[i]);
    }
    made_ = report(folders);
    expect_sound(made_.page);
    return made_.json.at("networks");
  }
  /// The only point of the only attack.
  Json pooled(const std::vector<Json>& attacks) {
    const Json all = networks(attacks);
    EXPECT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].at("attacks").size(), 1u);
    return all[0]["attacks"][0].at("points").at(0);
  }

  Made made_;
  int written_ = 0;
};

void expect_interval(const Json& measured, double mean, double low, double high) {
  EXPECT_NEAR(measured.at("mean").get<double>(), mean, 1e-6);
  EXPECT_NEAR(measured.at("low").get<double>(), low, 1e-6);
  EXPECT_NEAR(measured.at("high").get<double>(), high, 1e-6);
}

TEST_F(ReportPool, NetworksOfSeveralSeedsAreOneLine) {
  const Json p =
      pooled({pruned("aa", 0.80, 256, 1), pruned("bb", 0.82, 255, 2), pruned("cc", 0.84, 250, 3)});
  // t = 4.302653 at two degrees of freedom, s = 0.02.
  expect_interval(p.at("owner").at("accuracy").at("public"), 0.82, 0.7703172, 0.8696828);
  expect_interval(p["owner"]["accuracy"].at("passport"), 0.41, 0.3851586, 0.4348414);
  const Json& bits = p["owner"].at("bits");
  EXPECT_EQ(bits.at("matched"), 761);
  EXPECT_EQ(bits.at("total"), 768);
  EXPECT_NEAR(bits.at("low").get<double>(), 0.98131, 2e-5);  // Clopper and Pearson, 7 of 768 missed
  EXPECT_NEAR(bits.at("high").get<double>(), 0.99633, 2e-5);
  EXPECT_EQ(p["owner"].at("log2_p_corrected"),
            Json({{"mean", (-124 - 123.5 - 121) / 3}, {"least", -124.0}, {"most", -121.0}}));
  EXPECT_EQ(p["owner"].at("verdict"), "supported");
  EXPECT_EQ(made_.json["networks"][0]["attacks"][0].at("seeds"), Json({1, 2, 3}));
  EXPECT_EQ(made_.json["networks"][0].at("runs").size(), 3u);
  EXPECT_CONTAINS(made_.page, "82.00% [77.03, 86.97]");
  EXPECT_CONTAINS(made_.page, "761 / 768 [98.13, 99.63]%");
  EXPECT_CONTAINS(made_.page, "-122.8 [-124.0, -121.0]");
  EXPECT_CONTAINS(made_.page, "3 networks of different seeds");
  EXPECT_CONTAINS(made_.page, "Clopper and Pearson");
}

TEST_F(ReportPool, AShareStaysAShare) {
  const Json p = pooled({pruned("aa", 0.99, 256), pruned("bb", 0.5, 256)});
  EXPECT_EQ(p.at("owner").at("accuracy").at("public").at("low"), 0.0);
  EXPECT_EQ(p["owner"]["accuracy"]["public"].at("high"), 1.0);
}

TEST_F(ReportPool, OfOneNetworkTheTestImagesSayHowSureItIs) {
  Json a = pruned("aa", 0.8, 256);
  const Json unknown = pooled({a}).at("owner").at("accuracy");
  EXPECT_TRUE(unknown.at("public").at("low").is_null());
  EXPECT_CONTAINS(made_.page, ">80.00%<");
  a["test_images"] = 1000;
  const Json p = pooled({a});
  expect_interval(p.at("owner").at("accuracy").at("public"), 0.8, 0.7740810, 0.8236229);
  EXPECT_CONTAINS(made_.page, "80.00% [77.41, 82.36]");
  // Accuracy after a transfer is that on other data.
  a["settings"]["task"] = "other";
  EXPECT_TRUE(pooled({a})["owner"]["accuracy"]["public"]["low"].is_null());
  a["other_test_images"] = 10;
  expect_interval(pooled({a}).at("owner").at("accuracy").at("public"), 0.8, 0.4901625, 0.9433178);
}

TEST_F(ReportPool, AClaimSaysOfHowManyImagesItsAccuracyIs) {
  write_run("run");
  Json untouched = verification();
  const auto released = [&] {
    write("run/verify.json", untouched);
    return report({"run"}).json.at("networks").at(0).at("claim").at("accuracy").at("public");
  };
  EXPECT_TRUE(released().at("low").is_null()) << "an older document";
  untouched["accuracy"]["images"] = 1000;
  expect_interval(released(), 0.8125, 0.7871295, 0.8354788);
  // Of an attack's documents, too.
  Json a = pruned("aa", 0.8, 256);
  a["points"][0]["owner"]["accuracy"]["images"] = 1000;
  expect_interval(pooled({a}).at("owner").at("accuracy").at("public"), 0.8, 0.7740810, 0.8236229);
}

TEST_F(ReportPool, SeedsOfAnAttackOnOneNetworkAreAveraged) {
  const Json one = pooled({pruned("aa", 0.80, 256, 1), pruned("aa", 0.82, 253, 2)});
  expect_interval(one.at("owner").at("accuracy").at("public"), 0.81, 0.81 - 0.1270620,
                  0.81 + 0.1270620);
  EXPECT_EQ(one["owner"].at("bits").at("matched"), 255);  // of 254.5: still 256 bits
  EXPECT_EQ(one["owner"]["bits"].at("total"), 256);
  // With a second network the interval is over the two, not over the three results.
  const Json two =
      pooled({pruned("aa", 0.80, 256, 1), pruned("aa", 0.82, 253, 2), pruned("bb", 0.83, 256, 1)});
  expect_interval(two.at("owner").at("accuracy").at("public"), 0.82, 0.82 - 0.1270620,
                  0.82 + 0.1270620);
  EXPECT_EQ(two["owner"].at("bits").at("total"), 512);
}

/// Of the best random passports of several networks the best, which is no mean of anything.
TEST_F(ReportPool, ABestIsTheBestOfAll) {
  const auto random = [](const char* sha256, int64_t bits, double accuracy_of_best) {
    const Json owner = claim(256, accuracy(0.8, 0.8));
    Json a = attack("fake1", {point(0, owner), point(100, owner)}, sha256);
    a["axis"] = "random passports";
    a["settings"] = {{"count", "100"}, {"sample", "20"}};
    a["points"][1]["metrics"] = {{"own bits, best", bits},
                                 {"own bits, mean", bits - 22},
                                 {"own bits, 50-55%", 100},
                                 {"accuracy, best of sample", accuracy_of_best}};
    return a;
  };
  const Json all = networks({random("aa", 150, 0.25), random("bb", 158, 0.125)});
  const Json metrics = all.at(0).at("attacks").at(0).at("points").at(1).at("metrics");
  const auto best = [](double value) {
    return Json{{"mean", value}, {"low", nullptr}, {"high", nullptr}};
  };
  EXPECT_EQ(metrics.at("own bits, best"), best(158));
  EXPECT_EQ(metrics.at("accuracy, best of sample"), best(0.25));
  EXPECT_EQ(metrics.at("own bits, mean").at("mean"), 132.0);
  EXPECT_FALSE(metrics["own bits, mean"].at("low").is_null());
  // And says of how many.
  EXPECT_CONTAINS(made_.page, "accuracy, best of 2 x 20 of them");
  EXPECT_CONTAINS(made_.page, "own bits, best of 2 x 100<");
  EXPECT_CONTAINS(made_.page, "best of 2 x 100: 158 of 256");
  EXPECT_CONTAINS(made_.tables, "best of 2 x 20 of them 25.0");
  EXPECT_CONTAINS(made_.tables, "best of 2 x 100: 158 of 256");
  networks({random("aa", 150, 0.25)});
  EXPECT_CONTAINS(made_.page, "accuracy, best of 20 of them");
  EXPECT_CONTAINS(made_.page, "own bits, best<");
  EXPECT_CONTAINS(made_.tables, "best of 20 of them 25.0");
  EXPECT_CONTAINS(made_.tables, "best 150 of 256");
}

/// How many signs flip turns is a setting of it: no chance is in what is left of the bits.
TEST_F(ReportPool, WhatFlipTurnsHasNoInterval) {
  const auto flipped = [](const char* sha256, double passport, const char* detection) {
    Json a = attack("flip",
                    {point(0, claim(256, accuracy(0.8, 0.8))),
                     point(0.5, claim(128, accuracy(0.8, passport), "not supported"))},
                    sha256);
    a["settings"] = {{"detection", detection}, {"shares", "0.5"}};
    return a;
  };
  for (const char* detection : {"used", "weights"}) {
    const Json points = networks({flipped("aa", 0.3, detection), flipped("bb", 0.4, detection)})
                            .at(0)
                            .at("attacks")
                            .at(0)
                            .at("points");
    EXPECT_FALSE(points.at(0).at("owner").at("bits").at("low").is_null());
    const Json& turned = points.at(1).at("owner");
    EXPECT_EQ(turned.at("bits").at("matched"), 256);
    EXPECT_EQ(turned["bits"].at("low").is_null(), detection == std::string("used"));
    EXPECT_EQ(turned["bits"].at("high").is_null(), detection == std::string("used"));
    EXPECT_FALSE(turned.at("accuracy").at("passport").at("low").is_null());
  }
}

TEST_F(ReportPool, SeedsThatChangeNothingAreOneMeasurement) {
  Json a = pruned("aa", 0.8, 256, 1), b = pruned("aa", 0.8, 256, 2);
  EXPECT_TRUE(pooled({a, b}).at("owner").at("accuracy").at("public").at("low").is_null());
  a["test_images"] = b["test_images"] = 1000;
  expect_interval(pooled({a, b}).at("owner").at("accuracy").at("public"), 0.8, 0.7740810,
                  0.8236229);
}

TEST_F(ReportPool, AnOlderDocumentIsOfTheSameAttack) {
  Json a = pruned("aa", 0.8, 256), b = pruned("bb", 0.8, 256, 2);
  a["chain"] = b["chain"] = Json::array({"fine-tune"});
  b["links"] = {{{"attack", "fine-tune"}, {"settings", {{"mode", "rtal"}}}},
                {{"attack", "prune"}, {"settings", a.at("settings")}}};
  b["batch"] = 64;
  b["triggers"] = nullptr;
  b["other_data"] = "cifar100:data";
  EXPECT_EQ(pooled({a, b}).at("owner").at("bits").at("total"), 512);
  // Two that say so differ.
  a = b;
  a["seed"] = 1;
  a["batch"] = 32;
  Json all = networks({a, b});
  ASSERT_EQ(all.size(), 1u);
  ASSERT_EQ(all[0].at("attacks").size(), 2u);
  EXPECT_CONTAINS(all[0]["attacks"][0].at("attack").get<std::string>(), "batch = 32)");
  EXPECT_CONTAINS(all[0]["attacks"][1].at("attack").get<std::string>(), "batch = 64)");
  a["batch"] = 64;
  a["links"][0]["settings"]["mode"] = "rtll";
  all = networks({a, b});
  ASSERT_EQ(all[0].at("attacks").size(), 2u);
  EXPECT_CONTAINS(all[0]["attacks"][0].at("attack").get<std::string>(), "fine-tune (mode = rtll)");
}

TEST_F(ReportPool, TheSameResultTwiceIsOne) {
  const Json a = pruned("aa", 0.8, 256);
  EXPECT_TRUE(pooled({a, a}).at("owner").at("accuracy").at("public").at("low").is_null());
}

TEST_F(ReportPool, VerdictsAreCounted) {
  const Json p = pooled({pruned("aa", 0.8, 256), pruned("bb", 0.8, 120, 2, "not supported"),
                         pruned("cc", 0.8, 256, 3)});
  EXPECT_EQ(p.at("owner").at("verdict"), "supported 2, not supported 1");
}

TEST_F(ReportPool, WhatDiffersInMoreThanSeedsStaysApart) {
  Json a = pruned("aa", 0.8, 256), b = pruned("bb", 0.8, 256, 2);
  b["model"]["architecture"] = "alexnet";
  const Json architectures = networks({a, b});
  ASSERT_EQ(architectures.size(), 2u);
  EXPECT_EQ(architectures[0].at("label"), "tiny pan");
  EXPECT_EQ(architectures[1].at("label"), "alexnet pan");
  for (const char* key : {"scheme", "norm"}) {
    b = pruned("bb", 0.8, 256, 2);
    b["model"][key] = "other";
    EXPECT_EQ(networks({a, b}).size(), 2u) << key;
  }
  // One network's attacks of other settings are other attacks, and their titles say in what.
  b = pruned("aa", 0.8, 256, 2);
  b["limit_test"] = 500;
  const Json one = networks({a, b});
  ASSERT_EQ(one.size(), 1u);
  ASSERT_EQ(one[0].at("attacks").size(), 2u);
  EXPECT_EQ(one[0]["attacks"][1].at("attack"), "prune (test images = 500)");
}

TEST_F(ReportPool, TrainingOfOtherSettingsIsAnotherNetwork) {
  write_run("a");
  write_run("b");
  const auto with_rate = [&](const char* name, const char* text) {
    const std::string file = name + std::string("/config.toml");
    folder_.write(file, std::string(text_of(read_file(path(file), 1 << 16))) + text);
  };
  with_rate("a", "lr = 0.1\nthreads = 1\n");
  with_rate("b", "lr = 0.1\nthreads = 2\n");
  Made m = report({"a", "b"}, {"--with-seeds"});
  ASSERT_EQ(m.json.at("networks").size(), 1u);
  expect_sound(m.page);
  EXPECT_CONTAINS(m.page, "1, 2");  // threads
  // The same curve twice: its mean is itself.
  EXPECT_CONTAINS(m.page, "2 networks of different seeds");
  with_rate("b", "momentum = 0.5\n");
  EXPECT_EQ(report({"a", "b"}).json.at("networks").size(), 2u);
}

TEST_F(ReportPool, CurvesMeetWhereTheirStrengthsDo) {
  // The second stopped earlier, and has a strength of its own; 0 stands twice, as in fake2.
  const auto at = [](double x, double value) {
    return point(x, claim(256, accuracy(value, value)));
  };
  Json a = attack("fake2", {at(0, 0.9), at(0, 0.1), at(1, 0.5), at(2, 0.6)}, "aa");
  Json b = attack("fake2", {at(0, 0.8), at(0, 0.2), at(1.5, 0.7), at(2, 0.4)}, "bb");
  const Json all = networks({a, b});
  const Json points = all.at(0).at("attacks").at(0).at("points");
  std::vector<std::pair<double, double>> means;
  for (const Json& p : points)
    means.emplace_back(p.at("x").get<double>(),
                       p.at("owner").at("accuracy").at("public").at("mean").get<double>());
  ASSERT_EQ(means.size(), 5u);
  const std::vector<std::pair<double, double>> expected = {
      {0, 0.85}, {0, 0.15}, {1, 0.5}, {2, 0.5}, {1.5, 0.7}};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(means[i].first, expected[i].first);
    EXPECT_NEAR(means[i].second, expected[i].second, 1e-12);
  }
}

}  // namespace
}  // namespace passnorm::test
