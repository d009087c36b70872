// passnorm report: the page and its JSON say what the files say.
#include "tests/cli/report.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::test {
namespace {

TEST_F(Report, NumbersAreThoseOfTheFiles) {
  const std::string sha = write_run("run");
  write("run/attack-prune.json", prune(sha));
  const Made m = report({"run"});
  EXPECT_EQ(m.json.at("format"), "passnorm.report/2");
  ASSERT_EQ(m.json.at("runs").size(), 1u);
  const Json& run = m.json["runs"][0];
  EXPECT_EQ(run.at("label"), "pan");
  EXPECT_EQ(run.at("model").at("sha256"), sha);
  EXPECT_EQ(run["model"].at("architecture"), "tiny");
  EXPECT_EQ(run["model"].at("sites")[1], Json({{"name", "conv4"}, {"bits", 128}}));
  EXPECT_EQ(run.at("settings").at("epochs"), "3");
  EXPECT_EQ(run.at("claim"), verification());
  ASSERT_EQ(run.at("training").size(), 3u);
  Json line = parse_json("line", metrics_line(2, 0.625, 1));
  line.erase("seconds");
  line.erase("images_per_second");
  EXPECT_EQ(run["training"][1], line);
  ASSERT_EQ(run.at("attacks").size(), 1u);
  EXPECT_EQ(run["attacks"][0].at("document"), prune(sha));
  EXPECT_EQ(m.json.at("missing"), Json::array());
  EXPECT_EQ(m.finished.err, "");

  // At 40% the network has lost 4.25 points, at 60% more than 5; that 80% lost less is luck.
  ASSERT_EQ(m.json.at("summary").size(), 1u);
  const Json& s = m.json["summary"][0];
  EXPECT_EQ(s.at("accuracy_before"), 0.8125);
  EXPECT_EQ(s.at("task_stands"), Json({{"x", 0.4},
                                       {"accuracy", 0.77},
                                       {"bits", {{"matched", 250}, {"total", 256}}},
                                       {"log2_p_corrected", -121.0},
                                       {"verdict", "supported"}}));
  EXPECT_EQ(s.at("end").at("x"), 0.8);
  EXPECT_EQ(s["end"].at("verdict"), "not supported");
  EXPECT_TRUE(s.at("best_forger").is_null());

  expect_sound(m.page);
  for (const char* text :
       {"81.25%", "250 / 256", "-121.0", "share of weights pruned (%)", "0..1:0.1", "34.75%",
        "100 random passports", "supported", "prefers-color-scheme: dark", "@media print",
        "Accuracy is never evidence", sha.c_str()})
    EXPECT_CONTAINS(m.page, text);
}

TEST_F(Report, WhatFlipAttacksIsThePassportBranch) {
  write("d/attack-flip.json",
        attack("flip", Json::array({point(0, claim(256, accuracy(0.8, 0.8))),
                                    point(0.5, claim(128, accuracy(0.8, 0.3), "not supported"))})));
  const Json s = report({"d"}).json.at("summary")[0];
  EXPECT_EQ(s.at("task_stands").at("x"), 0);
  EXPECT_EQ(s.at("end").at("accuracy"), 0.3);
}

TEST_F(Report, TheBestForgerIsTheLeastLikelyByChance) {
  const Json owner = claim(256, accuracy(0.9, 0.9));
  Json a = attack(
      "fake2", {point(0, owner), point(1, owner, claim(140, accuracy(0.9, 0.1), "not supported")),
                point(2, owner, claim(250, accuracy(0.9, 0.2), "inconclusive")),
                point(3, owner, claim(240, accuracy(0.9, 0.3), "inconclusive"))});
  a["axis"] = "epochs";
  write("a/attack-fake2.json", a);
  a["model"]["sha256"] = "bb";
  a["model"]["scheme"] = "deepipr-v2";
  write("b/attack-fake2.json", a);
  const Made m = report({"a", "b"});
  const Json& best = m.json.at("summary")[0].at("best_forger");
  EXPECT_EQ(best.at("x"), 2);
  EXPECT_EQ(best.at("bits").at("matched"), 250);
  EXPECT_EQ(best.at("verdict"), "inconclusive");
  expect_sound(m.page);
  EXPECT_CONTAINS(m.page, "deepipr-v2 forger");
}

TEST_F(Report, WhatBelongsToOneNetworkStandsTogether) {
  const std::string a = write_run("a", "pan"), b = write_run("b", "deepipr-v2");
  ASSERT_NE(a, b);
  write("a/attacks/attack-prune.json", prune(a));
  write("b/attacks/again/attack-prune.json", prune(b, "deepipr-v2"));
  write("elsewhere/attack-flip.json",
        attack("flip", Json::array({point(0, claim(256, accuracy(0.8, 0.8)))}), b, "deepipr-v2"));
  const Made m = report({"a", "b", "elsewhere"});
  ASSERT_EQ(m.json.at("runs").size(), 2u);
  EXPECT_EQ(m.json["runs"][0].at("label"), "pan");
  EXPECT_EQ(m.json["runs"][0].at("attacks").size(), 1u);
  EXPECT_EQ(m.json["runs"][1].at("attacks").size(), 2u);
  EXPECT_EQ(m.json["runs"][1].at("folders"), Json({path("b"), path("elsewhere")}));
  // One chart with both networks, in colours of their own.
  expect_sound(m.page);
  EXPECT_CONTAINS(m.page, "pan passport");
  EXPECT_CONTAINS(m.page, "deepipr-v2 passport");
  const size_t section = m.page.find("<h3>prune</h3>");
  ASSERT_NE(section, std::string::npos);
  EXPECT_EQ(m.page.find("<h3>prune</h3>", section + 1), std::string::npos);
  const std::string chart = m.page.substr(section, m.page.find("</svg>", section) - section);
  EXPECT_CONTAINS(chart, "class=\"l k0\"");
  EXPECT_CONTAINS(chart, "class=\"l k1 dashed\"");
}

TEST_F(Report, RunsOfOneSchemeAreCalledByTheirFolders) {  // and shown as one
  write_run("seeds/one");
  write_run("seeds/two");
  const Made m = report({"seeds/one", "seeds/two/"});
  EXPECT_EQ(m.json.at("runs")[0].at("label"), "one");
  EXPECT_EQ(m.json["runs"][1].at("label"), "two");
  ASSERT_EQ(m.json.at("networks").size(), 1u);
  EXPECT_EQ(m.json["networks"][0].at("label"), "pan");
  EXPECT_EQ(m.json["networks"][0].at("runs"), Json({"one", "two"}));
}

TEST_F(Report, TheSameAttackTwiceIsToldApart) {
  Json a = prune();
  write("d/attack-prune.json", a);
  a["settings"]["rates"] = "0.1";
  a["seed"] = 6;
  write("d/attacks/attack-prune.json", a);
  Json c = attack("quantise", prune().at("points"));
  c["chain"] = Json::array({"prune"});
  c["settings"] = {{"formats", "8"}};
  write("d/attacks/attack-prune+quantise.json", c);
  const Made m = report({"d"});
  std::set<std::string> titles;
  for (const Json& s : m.json.at("summary")) titles.insert(s.at("attack"));
  EXPECT_EQ(titles, (std::set<std::string>{"prune (rates = 0..1:0.1)", "prune (rates = 0.1)",
                                           "prune, then quantise (formats = 8)"}));
}

TEST_F(Report, AChainIsCalledByAllItsLinks) {
  const auto link = [](const char* name, const char* setting, const char* value) {
    Json settings = Json::object();
    for (const verify::AttackSetting& s : verify::attack(name).settings)
      settings[std::string(s.name)] = s.value;
    settings[setting] = value;
    return Json{{"attack", name}, {"settings", settings}};
  };
  Json a = attack("quantise", prune().at("points"));
  a["chain"] = Json::array({"fine-tune", "prune"});
  a["links"] = {link("fine-tune", "mode", "rtal"), link("prune", "rates", "0.5"),
                link("quantise", "formats", "8")};
  a["settings"] = a["links"][2]["settings"];
  a["batch"] = 32;
  a["other_data"] = nullptr;
  a["triggers"] = "owner/triggers";
  a["triggers_sha256"] = "00";
  write("d/attack-chain.json", a);
  const Made m = report({"d"});
  expect_sound(m.page);
  EXPECT_EQ(m.json.at("summary")[0].at("attack"),
            "fine-tune (mode = rtal), then prune (rates = 0.5), then quantise (formats = 8)");
  for (const char* text :
       {"fine-tune: mode = rtal", "prune: rates = 0.5", "batch = 32", "triggers = owner/triggers"})
    EXPECT_CONTAINS(m.page, text);
  // An attack to the end of which nothing was chosen has no brackets.
  a["links"][0] = link("fine-tune", "mode", "ftal");
  write("d/attack-chain.json", a);
  EXPECT_EQ(report({"d"}).json.at("summary")[0].at("attack"),
            "fine-tune, then prune (rates = 0.5), then quantise (formats = 8)");
}

TEST_F(Report, TrainingShowsItsBatchesAndEverySite) {
  write_run("run");
  const Made m = report({"run"});
  const size_t from = m.page.find("<h2>Training</h2>"), end = m.page.find("</figure>", from);
  const std::string figure = m.page.substr(from, end - from);
  // Accuracy in training of both branches; bits of two sites.
  const auto count = [](const std::string& text, const std::string& what) {
    size_t n = 0;
    for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at) ++n;
    return n;
  };
  EXPECT_EQ(count(figure, "class=\"l k0 thin\""), 3u);
  EXPECT_EQ(count(figure, "class=\"l k0 dashed thin\""), 1u);
  EXPECT_EQ(count(figure, "shaded"), 0u);  // of one network there are no intervals
  EXPECT_CONTAINS(m.page, "pan: bits that match at each site, by epochs.");
  EXPECT_CONTAINS(m.page, "<th scope=\"row\">conv3</th><td>50.00%</td>");
  EXPECT_CONTAINS(m.page, "<th scope=\"row\">conv4</th><td>100.00%</td>");
  // In training both branches at three epochs; with the passport on the test set once.
  EXPECT_EQ(count(m.page, "<td>25.00%</td>"), 7u);
}

TEST_F(Report, TheSameFilesGiveTheSameBytes) {
  const std::string sha = write_run("run");
  write("run/attack-prune.json", prune(sha));
  const Made first = report({"run"});
  EXPECT_EQ(report({"run"}).page, first.page);
  EXPECT_EQ(report({"run"}).tables, first.tables);
  write_run("run", "pan", "seed", 99.5);  // the same run on a slower machine
  const Variable locale("LC_ALL", "de_DE.UTF-8");
  const Made slower = report({"run"});
  EXPECT_EQ(slower.page, first.page);
  EXPECT_EQ(slower.json, first.json);
  folder_.write("run/metrics.jsonl", metrics_line(1, 0.51, 1));
  EXPECT_NE(report({"run"}).page, first.page);
}

TEST_F(Report, WhatIsMissingIsNamed) {
  write("attacks/attack-prune.json", prune());
  Made m = report({"attacks"});
  EXPECT_CONTAINS(m.page, "What is missing");
  ASSERT_EQ(m.json.at("missing").size(), 3u) << m.json["missing"];
  EXPECT_EQ(std::ranges::count(m.finished.err, '\n'), 3);
  EXPECT_CONTAINS(m.finished.err, "no metrics.jsonl");
  expect_sound(m.page);

  folder_.write("metrics/metrics.jsonl", metrics_line(1, 0.5, 1));
  m = report({"metrics"});
  EXPECT_CONTAINS(m.finished.err, "no model.safetensors");
  EXPECT_CONTAINS(m.finished.err, "no attack-*.json");
  expect_sound(m.page);

  // A network without a passport has no claim to miss.
  write_run("plain", "none");
  std::filesystem::remove(path("plain/verify.json"));
  EXPECT_EQ(report({"plain"}).finished.err, "");

  // Nothing was measured but bits.
  write("bits/attack-prune.json",
        attack("prune",
               Json::array({point(0, claim(256, accuracy(nullptr, nullptr))),
                            point(1, claim(0, accuracy(nullptr, nullptr), "not supported"))})));
  m = report({"bits"});
  EXPECT_TRUE(m.json.at("summary")[0].at("task_stands").is_null());
  expect_sound(m.page);
}

TEST_F(Report, RandomPassportsAreCountedByTheirBits) {
  Json a = attack("fake1", Json::array({point(0, claim(256, accuracy(0.8, 0.8))),
                                        point(10000, claim(256, accuracy(0.8, 0.8)),
                                              claim(158, accuracy(0.8, 0.3), "not supported"))}));
  a["axis"] = "random passports";
  Json& metrics = a["points"][1]["metrics"];
  metrics["own bits, best"] = 158;
  metrics["own bits, mean"] = 128.25;
  for (int bin = 0; bin < 20; ++bin)
    metrics[concat("own bits, ", 5 * bin, "-", 5 * bin + 5, "%")] = bin == 10 ? 9000 : bin == 12;
  metrics["accuracy, best of sample"] = 0.3625;
  write("d/attack-fake1.json", a);
  const Made m = report({"d"});
  expect_sound(m.page);
  EXPECT_CONTAINS(m.page, "bits drawn with the key");
  EXPECT_CONTAINS(m.page, "9000 passports from 50% to 55%");
  EXPECT_CONTAINS(m.page, "1 passport from 60% to 65%");
  EXPECT_CONTAINS(m.page, "best 158");
  EXPECT_CONTAINS(m.page, "128.25");
  EXPECT_EQ(m.page.find(">own bits, 50-55%<"), std::string::npos) << "drawn, not listed";
}

}  // namespace
}  // namespace passnorm::test
