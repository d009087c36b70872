// passnorm report: the page and its JSON say what the files say, and nothing that is in them gets
// out of its place.
#include <cmath>
#include <map>
#include <regex>
#include <set>

#include "cli/chart.hpp"
#include "tests/cli/program.hpp"
#include "tests/support/networks.hpp"

namespace passnorm::test {
namespace {

Json accuracy(Json in_public, Json in_passport) {
  return {{"public", std::move(in_public)}, {"passport", std::move(in_passport)}};
}

/// As claim_json() writes it, with two sites that share the bits.
Json claim(int64_t matched, Json accuracy_of_branches, const char* verdict = "supported",
           const std::string& site = "conv3") {
  return {{"verdict", verdict},
          {"bits_bound", verdict == std::string("supported")},
          {"signature", "(c) Alice"},
          {"bits", {{"matched", matched}, {"total", 256}}},
          {"log2_p", -static_cast<double>(matched) / 2},
          {"tests", 1},
          {"log2_tests", 4.0},
          {"threshold_log2", -64.0},
          {"sites",
           {{{"name", site}, {"matched", matched - matched / 2}, {"total", 128}},
            {{"name", "conv4"}, {"matched", matched / 2}, {"total", 128}}}},
          {"accuracy", std::move(accuracy_of_branches)},
          {"null", {{"passports", 0}, {"matched", {{"mean", 0}, {"stddev", 0}, {"most", 0}}}}}};
}

Json point(double x, Json owner, Json forger = nullptr) {
  return {{"x", x},
          {"owner", std::move(owner)},
          {"forger", std::move(forger)},
          {"triggers", nullptr},
          {"metrics", Json::object()}};
}

Json attack(const char* name, Json points, const std::string& sha256 = "aa",
            const char* scheme = "pan") {
  return {{"format", "passnorm.attack/1"},
          {"attack", name},
          {"description", "what a thief does"},
          {"source", "a paper"},
          {"settings", {{"rates", "0..1:0.1"}}},
          {"seed", 5},
          {"chain", Json::array()},
          {"model",
           {{"architecture", "tiny"},
            {"scheme", scheme},
            {"norm", "batch"},
            {"classes", 10},
            {"sites", {{{"name", "conv3"}, {"bits", 128}}, {{"name", "conv4"}, {"bits", 128}}}},
            {"sha256", sha256}}},
          {"data", "cifar10:data"},
          {"limit_train", 2000},
          {"limit_test", 1000},
          {"axis", "share of weights pruned"},
          {"points", std::move(points)}};
}

/// The task breaks after 40%, and what comes later does not count.
Json prune(const std::string& sha256 = "aa", const char* scheme = "pan") {
  return attack(
      "prune",
      {point(0, claim(256, accuracy(0.8125, 0.8))), point(0.2, claim(255, accuracy(0.79, 0.78))),
       point(0.4, claim(250, accuracy(0.77, 0.7))),
       point(0.6, claim(200, accuracy(0.7, 0.5), "not supported")),
       point(0.8, claim(140, accuracy(0.78, 0.4), "not supported"))},
      sha256, scheme);
}

std::string metrics_line(int64_t epoch, double test, double seconds) {
  const Json line = {{"epoch", epoch},
                     {"lr", 0.1},
                     {"loss", accuracy(2.5 / static_cast<double>(epoch), 2.25)},
                     {"sign_loss", 0.5},
                     {"train_accuracy", accuracy(0.25, 0.25)},
                     {"test_accuracy", accuracy(test, test / 2)},
                     {"trigger_accuracy", accuracy(nullptr, nullptr)},
                     {"bits", 0.75},
                     {"sites", {{"conv3", 0.5}, {"conv4", 1.0}}},
                     {"skipped_steps", 0},
                     {"images_per_second", 4000 * seconds},
                     {"seconds", seconds}};
  return line.dump() + "\n";
}

Json verification() {
  Json c = claim(256, accuracy(0.8125, 0.79));
  c["null"] = {{"passports", 100},
               {"matched", {{"mean", 127.5}, {"stddev", 8.25}, {"most", 150}}},
               {"accuracy",
                {{"images", 1000},
                 {"owner", 0.7875},
                 {"mean", 0.125},
                 {"best", 0.3475},
                 {"histogram", {31, 62, 4, 3, 0, 0, 0, 0, 0, 0}}}}};
  return c;
}

class Report : public testing::Test {
 protected:
  /// A whole run in a folder; returns the SHA-256 of its model.
  std::string write_run(const std::string& name, const char* scheme = "pan",
                        const char* secret_from = "seed", double seconds = 12.5) {
    const auto model = models::make("tiny", {.plan = PassportPlan::of(scheme)}, network_stream());
    unsettle(*model, std::hash<std::string>()(name));
    folder_.write(name + "/config.toml",
                  concat("model = \"tiny\"\nscheme = \"", scheme,
                         "\"\nnorm = \"batch\"\ndata = \"cifar10:data\"\nepochs = 3\nsecret = \"",
                         secret_from, "\"\nseed = 8675309\n"));
    folder_.write(name + "/metrics.jsonl", metrics_line(1, 0.5, seconds) +
                                               metrics_line(2, 0.625, seconds) +
                                               metrics_line(3, 0.75, seconds));
    folder_.write(name + "/verify.json", verification().dump());
    models::save_released(*model, folder_.path(name + "/model.safetensors"),
                          {{0.5f, 0.5f, 0.5f}, {1.f, 1.f, 1.f}});
    return to_hex(sha256(read_file(folder_.path(name + "/model.safetensors"), 1 << 24)));
  }
  void write(const std::string& name, const Json& json) { folder_.write(name, json.dump()); }
  std::string path(const std::string& name) const { return folder_.path(name); }

  struct Made {
    Finished finished;
    std::string page;
    Json json;
  };
  Made report(const std::vector<std::string>& folders, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"report"};
    for (const std::string& f : folders) arguments.push_back(path(f));
    for (const char* option : {"--out", "--json"}) {
      arguments.push_back(option);
      arguments.push_back(path(option == std::string("--out") ? "page.html" : "page.json"));
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    Made m{passnorm(arguments), {}, {}};
    EXPECT_EQ(m.finished.code, 0) << m.finished.err;
    if (m.finished.code != 0) return m;
    m.page = text_of(read_file(path("page.html"), 1 << 26));
    m.json = parse_json("report", text_of(read_file(path("page.json"), 1 << 26)));
    return m;
  }

  TemporaryFolder folder_;
};

/// Every element is closed, in order; every id stands once, and labels name ids that exist.
void expect_sound(const std::string& page) {
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>\n"));
  static const std::regex tag("<(/?)([a-zA-Z0-9]+)((?:\\s+[a-zA-Z0-9-]+=\"[^\"<>]*\")*)\\s*(/?)>");
  std::vector<std::string> open;
  std::multiset<std::string> ids;
  std::set<std::string> labels;
  size_t tags = 0;
  for (std::sregex_iterator it(page.begin(), page.end(), tag), end; it != end; ++it, ++tags) {
    const std::string name = (*it)[2], attributes = (*it)[3];
    std::smatch found;
    if (std::regex_search(attributes, found, std::regex("\\bid=\"([^\"]*)\"")))
      ids.insert(found[1]);
    if (std::regex_search(attributes, found, std::regex("aria-labelledby=\"(\\S*) (\\S*)\""))) {
      labels.insert(found[1]);
      labels.insert(found[2]);
    }
    static const std::regex active("\\s(on[a-z]+|src|href|style|xlink)=");
    EXPECT_FALSE(std::regex_search(attributes, active)) << attributes;
    if ((*it)[4] == "/" || name == "meta") continue;
    if ((*it)[1] == "") {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << "</" << name << ">";
    ASSERT_EQ(open.back(), name);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty()) << open.back();
  for (const std::string& id : ids) EXPECT_EQ(ids.count(id), 1u) << id;
  for (const std::string& id : labels) EXPECT_EQ(ids.count(id), 1u) << id;
  // Nothing else looks like markup.
  EXPECT_EQ(static_cast<size_t>(std::ranges::count(page, '<')), tags + 1) << "DOCTYPE and tags";
  for (const char* foreign :
       {"<script", "<img", "<link", "url(", "@import", ">nan", "\"nan", ">-nan"})
    EXPECT_EQ(page.find(foreign), std::string::npos) << foreign;
}

TEST_F(Report, NumbersAreThoseOfTheFiles) {
  const std::string sha = write_run("run");
  write("run/attack-prune.json", prune(sha));
  const Made m = report({"run"});
  EXPECT_EQ(m.json.at("format"), "passnorm.report/1");
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

TEST_F(Report, PublishedFiguresHaveMarksSourcesAndOurs) {
  const std::string sha = write_run("run");
  write("run/attack-prune.json", prune(sha));
  const Made m = report({"run"});
  std::map<std::string, Json> figures;
  for (const Json& f : m.json.at("published").at("figures")) {
    EXPECT_TRUE(figures.emplace(f.at("id").get<std::string>(), f).second) << f;
    EXPECT_NE(f.at("source").get<std::string>(), "");
    EXPECT_TRUE(f.at("mark") == "exact" || f["mark"] == "approximate" || f["mark"] == "not found");
    EXPECT_EQ(f["mark"] == "not found", f.at("value").is_null()) << f;
    EXPECT_CONTAINS(m.page, f["id"] == "pan-tables" ? "arXiv 2010.15824" : "Fan, Ng, Chan");
  }
  EXPECT_EQ(figures.at("fake1-most").at("value"), "at most 35%");
  EXPECT_EQ(figures.at("fake1-most").at("mark"), "exact");
  EXPECT_EQ(figures.at("fake1-most").at("ours"),
            Json::array({{{"run", "pan"}, {"value", 0.3475}, {"same_setting", false}}}));
  EXPECT_EQ(figures.at("fake1-histogram").at("mark"), "approximate");
  EXPECT_EQ(figures.at("deepipr-tables").at("mark"), "not found");
  EXPECT_NEAR(figures.at("unauthorised").at("ours")[0].at("value").get<double>(), 0.6625, 1e-12);
  // 60% of the weights pruned; 70% was not tried.
  EXPECT_EQ(figures.at("uchida-pruned").at("ours")[0].at("value"), 200.0 / 256);
  EXPECT_TRUE(figures.at("fake2-most").at("ours").empty());
  std::map<std::string, Json> curves;
  for (const Json& c : m.json["published"].at("curves")) curves[c.at("id")] = c;
  EXPECT_EQ(curves.at("pan-flip").at("mark"), "exact");
  EXPECT_EQ(curves["pan-flip"].at("points")[1], Json({{"flipped", 0.1}, {"accuracy", 0.0544}}));
  EXPECT_EQ(curves.at("deepipr-poster-flip").at("mark"), "approximate");
}

TEST_F(Report, OursIsTheSameSettingOnlyOnTheSameNetworkAndData) {
  Json a = attack("fake2", Json::array({point(0, claim(256, accuracy(0.9, 0.9))),
                                        point(1, claim(256, accuracy(0.83, 0.2)),
                                              claim(256, accuracy(0.83, 0.1), "inconclusive"))}));
  a["axis"] = "epochs";
  a["model"]["architecture"] = "resnet18";
  write("a/attack-fake2.json", a);
  a["data"] = "cifar100:data";
  a["model"]["sha256"] = "bb";
  a["model"]["scheme"] = "deepipr-v2";
  write("b/attack-fake2.json", a);
  const Made m = report({"a", "b"});
  for (const Json& f : m.json.at("published").at("figures"))
    if (f.at("id") == "fake2-most") {  // of CIFAR-10; the untouched network is no forgery
      EXPECT_EQ(f.at("ours"),
                Json({{{"run", "pan"}, {"value", 0.83}, {"same_setting", true}},
                      {{"run", "deepipr-v2"}, {"value", 0.83}, {"same_setting", false}}}));
    }
  a["settings"] = {{"share", "0.1"}};
  a["model"]["scheme"] = "pan";
  a["points"][1]["owner"]["accuracy"]["public"] = 0.75;
  write("c/attack-fake2.json", a);
  for (const Json& f : report({"c"}).json.at("published").at("figures")) {
    if (f.at("id") == "plain-resnet18") {
      EXPECT_EQ(f.at("ours")[0].at("value"), 0.75);
    }
  }
  for (const Json& f : m.json["published"]["figures"])  // those had all of the data
    if (f.at("id") == "plain-resnet18") {
      EXPECT_TRUE(f.at("ours").empty());
    }
  EXPECT_EQ(m.json.at("summary")[0].at("best_forger").at("verdict"), "inconclusive");
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

TEST_F(Report, RunsOfOneSchemeAreCalledByTheirFolders) {
  write_run("seeds/one");
  write_run("seeds/two");
  const Made m = report({"seeds/one", "seeds/two/"});
  EXPECT_EQ(m.json.at("runs")[0].at("label"), "one");
  EXPECT_EQ(m.json["runs"][1].at("label"), "two");
}

TEST_F(Report, TheSameAttackTwiceIsToldApart) {
  Json a = prune();
  write("d/attack-prune.json", a);
  a["settings"]["rates"] = "0.1";
  a["seed"] = 6;
  write("d/attacks/attack-prune.json", a);
  Json c = attack("quantise", prune().at("points"));
  c["chain"] = Json::array({"prune"});
  write("d/attacks/attack-prune+quantise.json", c);
  const Made m = report({"d"});
  std::set<std::string> titles;
  for (const Json& s : m.json.at("summary")) titles.insert(s.at("attack"));
  EXPECT_EQ(titles, (std::set<std::string>{"prune (rates = 0..1:0.1)", "prune (rates = 0.1)",
                                           "prune, then quantise"}));
}

TEST_F(Report, TheSameFilesGiveTheSameBytes) {
  const std::string sha = write_run("run");
  write("run/attack-prune.json", prune(sha));
  const Made first = report({"run"});
  EXPECT_EQ(report({"run"}).page, first.page);
  write_run("run", "pan", "seed", 99.5);  // the same run on a slower machine
  const Variable locale("LC_ALL", "de_DE.UTF-8");
  const Made slower = report({"run"});
  EXPECT_EQ(slower.page, first.page);
  EXPECT_EQ(slower.json, first.json);
  folder_.write("run/metrics.jsonl", metrics_line(1, 0.51, 1));
  EXPECT_NE(report({"run"}).page, first.page);
}

TEST_F(Report, TextStaysText) {
  const std::string bad = "<script>alert(1)</script>";
  Json a =
      attack("prune", Json::array({point(0, claim(256, accuracy(0.8, 0.8), "supported", bad)),
                                   point(0.5, claim(256, accuracy(0.8, 0.8), "supported", bad),
                                         claim(100, accuracy(0.1, 0.1), "not supported", bad))}));
  for (const char* key : {"attack", "description", "source", "axis", "data"})
    a[key] = "\"><img src=x onerror='alert(1)'>&amp;\x1b[31m";
  a["settings"] = {{bad, bad}};
  a["chain"] = Json::array({bad});
  a["model"]["architecture"] = a["model"]["scheme"] = a["model"]["norm"] = bad;
  a["model"]["sha256"] = bad;
  a["model"]["sites"][0]["name"] = bad;
  a["points"][1]["metrics"] = {{bad, 1.5}};
  write("<b>folder/attack-x.json", a);
  const Made m = report({"<b>folder"});
  expect_sound(m.page);
  EXPECT_CONTAINS(m.page, "&lt;script&gt;alert(1)&lt;/script&gt;");
  EXPECT_CONTAINS(m.page, "&lt;b&gt;folder");
  EXPECT_CONTAINS(m.page, "&amp;amp;");
  EXPECT_EQ(m.page.find('\x1b'), std::string::npos);
  EXPECT_EQ(m.json.at("runs")[0].at("attacks")[0].at("document"), a);
}

TEST_F(Report, ASeedThatIsASecretIsNotShown) {
  write_run("run");
  const Made hidden = report({"run"});
  EXPECT_EQ(hidden.page.find("8675309"), std::string::npos);
  EXPECT_EQ(hidden.json.dump().find("8675309"), std::string::npos);
  EXPECT_CONTAINS(hidden.page, "the passport follows from it");
  EXPECT_CONTAINS(report({"run"}, {"--with-seeds"}).page, "8675309");
  write_run("run", "pan", "random");  // the passport does not follow from this one
  EXPECT_CONTAINS(report({"run"}).page, "8675309");
  write_run("run", "none");
  EXPECT_CONTAINS(report({"run"}).page, "8675309");
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
  EXPECT_CONTAINS(m.page, "1 passports from 60% to 65%");
  EXPECT_CONTAINS(m.page, "best 158");
  EXPECT_CONTAINS(m.page, "128.25");
  EXPECT_EQ(m.page.find(">own bits, 50-55%<"), std::string::npos) << "drawn, not listed";
  for (const Json& f : m.json.at("published").at("figures"))
    if (f.at("id") == "fake1-most") {
      EXPECT_EQ(f.at("ours")[0].at("value"), 0.3625);
    }
}

TEST_F(Report, RefusesWhatItCannotRead) {
  const auto with = [](const char* place, Json value) {
    Json a = prune();
    a[Json::json_pointer(place)] = std::move(value);
    return a.dump();
  };
  const auto without = [](const char* parent, const char* key) {
    Json a = prune();
    a[Json::json_pointer(parent)].erase(key);
    return a.dump();
  };
  const struct {
    std::string text;
    const char* said;
  } rows[] = {
      {"", "JSON"},
      {"{\"format\": \"passnorm.attack/1\"", "JSON"},
      {"[]", "an object was expected, not array"},
      {with("/format", "passnorm.attack/2"), "format: passnorm.attack/1 was expected"},
      {without("", "points"), "the key \"points\" is missing"},
      {with("/points", Json::array()), "points: there are none"},
      {with("/points", 5), "points: an array was expected, not number"},
      {with("/points/1/x", "0.5"), "points[1].x: a number was expected, not string"},
      {with("/points/1/x", 1e200), "points[1].x: a number from"},
      {without("/points/2/owner", "log2_p"), "points[2].owner: the key \"log2_p\" is missing"},
      {with("/points/2/owner/log2_p", 3), "points[2].owner.log2_p: a number from"},
      {with("/points/2/owner/bits/matched", 257), "points[2].owner.bits.matched: a whole number"},
      {with("/points/2/owner/bits/total", -1), "points[2].owner.bits.total: a whole number"},
      {with("/points/2/owner/bits/matched", 1.5), "matched: a whole number"},
      {with("/points/2/owner/bits/matched", uint64_t{1} << 63), "matched: a whole number"},
      {with("/points/2/owner/verdict", "proven"), "unknown verdict \"proven\""},
      {with("/points/2/owner/bits_bound", 1), "bits_bound: true or false was expected"},
      {with("/points/2/owner/accuracy/public", 1.01), "accuracy.public: a number from 0 to 1"},
      {with("/points/2/forger", "Mallory"), "points[2].forger: an object was expected"},
      {with("/points/2/metrics", Json::object({{"a\nb", "c"}})),
       "points[2].metrics.a\\x0ab: a number"},
      {with("/settings/rates", 1), "settings.rates: a text was expected, not number"},
      {with("/seed", -1), "seed: a whole number"},
      {with("/model", nullptr), "model: an object was expected, not null"},
      {with("/chain", "prune"), "chain: an array was expected"},
  };
  for (const auto& row : rows) {
    const std::string file = folder_.write("d/attack-a.json", row.text);
    const Finished f = passnorm({"report", path("d"), "--out", path("page.html")});
    EXPECT_TRUE(fails_with(3, f)) << row.text.substr(0, 80);
    EXPECT_CONTAINS(f.err, file);
    EXPECT_CONTAINS(f.err, row.said);
    EXPECT_FALSE(std::filesystem::exists(path("page.html")));
  }

  const struct {
    const char *file, *text, *said;
  } parts[] = {
      {"metrics.jsonl", "{\"epoch\": 1}\n{\"epoch\": \"2\"}\n", "metrics.jsonl:2: epoch: a whole"},
      {"metrics.jsonl", "{\"epoch\": 1, \"bits\": 2}\n", "bits: a number from 0 to 1"},
      {"metrics.jsonl", "{\"epoch\": 1}\n\n", "metrics.jsonl:2"},
      {"config.toml", "model = \n", "config.toml:1"},
      {"model.safetensors", "no model", "model.safetensors"},
      {"verify.json", "{\"verdict\": \"supported\"}", "the key \"bits_bound\" is missing"},
  };
  for (const auto& part : parts) {
    const TemporaryFolder run;
    run.write(part.file, part.text);
    const Finished f = passnorm({"report", run.path(), "--out", path("page.html")});
    EXPECT_TRUE(fails_with(3, f)) << part.file << ": " << part.text;
    EXPECT_CONTAINS(f.err, part.said);
  }
  std::filesystem::create_directory(path("empty"));
  for (const char* folder : {"empty", "none", "d/attack-a.json"})
    EXPECT_TRUE(fails_with(3, passnorm({"report", path(folder), "--out", path("page.html")})));
}

TEST_F(Report, RefusesWhatItIsNotMadeFor) {
  write("a/attack-prune.json", prune());
  EXPECT_TRUE(fails_with(2, passnorm({"report", path("a")})));
  EXPECT_TRUE(fails_with(2, passnorm({"report", "--out", path("page.html")})));
  EXPECT_TRUE(
      fails_with(2, passnorm({"report", path("a"), path("a/."), "--out", path("page.html")})));
  std::vector<std::string> many = {"report", "--out", path("page.html")};
  for (const char* name : {"0", "1", "2", "3", "4", "5", "6", "7"}) {
    write(concat("many", name, "/attack-prune.json"), prune(name));
    many.push_back(path(concat("many", name)));
  }
  const Finished f = passnorm(many);
  EXPECT_TRUE(fails_with(2, f));
  EXPECT_CONTAINS(f.err, "at most 7");
  EXPECT_TRUE(fails_with(3, passnorm({"report", path("a"), "--out", path("none/page.html")})));
}

// --- charts

TEST(Chart, TextIsHarmless) {
  EXPECT_EQ(cli::html("a<b>\"c'&\x01\n"), "a&lt;b&gt;&quot;c&#39;&amp;\xef\xbf\xbd ");
  EXPECT_EQ(cli::html("\xc3\xa9\xc3\xa9", 3), "\xc3\xa9\xe2\x80\xa6");  // not inside a character
}

TEST(Chart, TicksAreRoundNumbers) {
  const auto ticks = [](double least, double most) {
    std::vector<std::string> texts;
    for (const auto& t : cli::linear_axis("", least, most).ticks) texts.push_back(t.text);
    return texts;
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(ticks(0, 1), (Texts{"0", "0.2", "0.4", "0.6", "0.8", "1"}));
  EXPECT_EQ(ticks(-252, 0), (Texts{"-200", "-100", "0"}));
  EXPECT_EQ(ticks(0, 100), (Texts{"0", "20", "40", "60", "80", "100"}));
  EXPECT_EQ(ticks(3, 3), (Texts{"2.6", "2.8", "3", "3.2", "3.4"}));
}

/// The numbers after `pattern` in `text`.
std::vector<double> numbers_after(const std::string& text, const std::string& pattern) {
  std::vector<double> out;
  const std::regex r(pattern + "([-0-9.]+)");
  for (std::sregex_iterator it(text.begin(), text.end(), r), end; it != end; ++it)
    out.push_back(std::stod((*it)[1]));
  return out;
}

TEST(Chart, PointsStandWhereTheirValuesAre) {
  cli::Chart chart{.title = "t", .x = cli::linear_axis("x", 0, 4), .y = cli::percent_axis("y")};
  chart.series.push_back({.label = "a", .points = {{0, 0.0}, {1, 1.0}, {2, {}}, {4, 0.5}}});
  const std::string svg = cli::draw(chart, "c");
  const auto x = numbers_after(svg, "cx=\""), y = numbers_after(svg, "cy=\"");
  ASSERT_EQ(x.size(), 3u);
  EXPECT_NEAR(x[1] - x[0], (x[2] - x[0]) / 4, 0.11);
  EXPECT_GT(y[0], y[1]);  // upwards
  EXPECT_NEAR(y[2], (y[0] + y[1]) / 2, 0.11);
  // A line ends before a gap and begins again behind it.
  const size_t path = svg.find("<path d=\"");
  const std::string d = svg.substr(path, svg.find('>', path) - path);
  EXPECT_EQ(std::ranges::count(d, 'M'), 2);
  EXPECT_EQ(std::ranges::count(d, 'L'), 1);
}

TEST(Chart, LabelsOfEqualLinesDoNotTouch) {
  cli::Chart chart{.title = "t", .x = cli::linear_axis("x", 0, 1), .y = cli::percent_axis("y")};
  for (const char* label : {"first", "second", "third", "fourth"})
    for (const double value : {0.0, 1.0})
      chart.series.push_back({.label = label, .points = {{0, value}, {1, value}}});
  const std::string svg = cli::draw(chart, "c");
  std::vector<double> y;
  for (const char* label : {"first", "second", "third", "fourth"}) {
    const auto at = numbers_after(svg, "<text x=\"356.0\" y=\"");
    y = at;
    EXPECT_CONTAINS(svg, concat(">", label, "<"));
  }
  ASSERT_EQ(y.size(), 8u);
  std::ranges::sort(y);
  for (size_t i = 1; i < y.size(); ++i) EXPECT_GT(y[i] - y[i - 1], 11);
  EXPECT_LT(y.back(), 236);
}

}  // namespace
}  // namespace passnorm::test
