// passnorm report: which of our numbers stand beside published ones.
#include <algorithm>
#include <sstream>

#include "cli/published.hpp"
#include "tests/cli/report.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::test {
namespace {

using cli::Ours;
using cli::Published;
using cli::PublishedFigure;

TEST(PublishedFigures, EachHasASourceAndItsMark) {
  std::set<std::string_view> ids;
  for (const PublishedFigure& f : cli::published_figures()) {
    EXPECT_TRUE(ids.insert(f.id).second) << f.id;
    EXPECT_FALSE(f.what.empty() || f.source.empty()) << f.id;
    EXPECT_EQ(f.mark == Published::kNotFound, f.value.empty()) << f.id;
  }
  for (const cli::PublishedCurve& c : cli::published_curves()) {
    EXPECT_FALSE(c.source.empty() || c.points.empty()) << c.id;
    EXPECT_TRUE(std::ranges::is_sorted(c.points)) << c.id;
  }
}

TEST(PublishedFigures, EveryAttackIsOneOfThisProgram) {
  size_t attacks = 0;
  for (const PublishedFigure& f : cli::published_figures()) {
    const bool measured_after_one = f.ours == Ours::kBestStolen ||
                                    f.ours == Ours::kBestStolenBits || f.ours == Ours::kBits ||
                                    f.ours == Ours::kTriggers;
    EXPECT_EQ(f.attack.empty(), !measured_after_one) << f.id;
    if (f.attack.empty()) continue;
    std::map<std::string, std::string> settings;
    std::istringstream words{std::string(f.attack)};
    std::string name, word;
    words >> name;
    const auto expect_known = [&] {
      EXPECT_NO_THROW(verify::AttackSettings(verify::attack(name).settings, settings)) << f.attack;
    };
    expect_known();
    while (words >> word) {
      std::istringstream values(word.substr(word.find('=') + 1));
      for (std::string value; std::getline(values, value, '|');) {
        settings[word.substr(0, word.find('='))] = value;
        expect_known();
      }
    }
    EXPECT_EQ(f.other_data.empty(), !settings.contains("task")) << f.id;
    ++attacks;
  }
  EXPECT_GT(attacks, 30u);
}

/// Runs whose folders hold settings, one line of metrics, and results of attacks on them.
class ReportPublished : public Report {
 protected:
  void write_training(const std::string& folder, const char* network, const std::string& settings,
                      const char* scheme = "pan", const char* data = "cifar10:data") {
    folder_.write(folder + "/config.toml",
                  concat("model = \"", network, "\"\nscheme = \"", scheme,
                         "\"\nnorm = \"batch\"\ndata = \"", data, "\"\n", settings));
    folder_.write(folder + "/metrics.jsonl", metrics_line(1, 0.75, 1));
  }

  /// On a network with passports in so many layers; of all images.
  Json on(Json a, const char* network, size_t layers) {
    a["model"]["architecture"] = network;
    a["model"]["sites"] = Json::array();
    for (size_t i = 0; i < layers; ++i)
      a["model"]["sites"].push_back({{"name", concat("site", i)}, {"bits", 64}});
    a["limit_train"] = a["limit_test"] = 0;
    return a;
  }

  /// What stands beside each figure where anything does.
  std::map<std::string, Json> ours(const std::string& folder) {
    const Made m = report({folder});
    page_ = m.page;
    expect_sound(page_);
    std::map<std::string, Json> out;
    for (const Json& f : m.json.at("published").at("figures"))
      if (!f.at("ours").empty()) out[f.at("id").get<std::string>()] = f["ours"];
    return out;
  }
  /// Of one pool.
  static Json one(double value, const std::vector<std::string>& differences = {},
                  Json bits = nullptr) {
    return Json::array({{{"network", "pan"},
                         {"value", value},
                         {"bits", std::move(bits)},
                         {"same_setting", differences.empty()},
                         {"differences", differences}}});
  }
  static std::vector<std::string> names(const std::map<std::string, Json>& figures) {
    std::vector<std::string> out;
    for (const auto& [id, value] : figures) out.push_back(id);
    return out;
  }

  std::string page_;
};

using Names = std::vector<std::string>;
constexpr const char* kAsPublished = "epochs = 200\nlimit-train = 0\nlimit-test = 0\n";
constexpr const char* kKeepsBest = "keep = \"best\"\n";

TEST_F(ReportPublished, AccuracyStandsBesideTheSameNetworkDataAndLayers) {
  write_training("run", "alexnet", kAsPublished);
  write("run/attack-flip.json", on(attack("flip", prune().at("points")), "alexnet", 3));
  auto figures = ours("run");
  EXPECT_EQ(names(figures), Names{"alexnet-3"});
  EXPECT_EQ(figures.at("alexnet-3"), one(0.75));
  EXPECT_CONTAINS(page_, ">pan 75.0%<");
  // The others of its kind are listed, and are not beside it.
  EXPECT_CONTAINS(page_, "90.20% (1 layer); 88.73% (2 layers); 88.25% (4 layers)");

  write("run/attack-flip.json", on(attack("flip", prune().at("points")), "alexnet", 4));
  EXPECT_EQ(names(ours("run")), Names{"alexnet-4"});

  write_training("run", "resnet18", kAsPublished);
  write("run/attack-flip.json", on(attack("flip", prune().at("points")), "resnet18", 18));
  figures = ours("run");
  EXPECT_EQ(names(figures), (Names{"deepipr-valid", "resnet18-18"}));
  // With the passport, of another scheme than theirs.
  EXPECT_EQ(figures.at("deepipr-valid"), one(0.375, {"scheme pan"}));
  write_training("run", "resnet18", kAsPublished, "deepipr-v2");
  write("run/attack-flip.json",
        on(attack("flip", prune().at("points"), "aa", "deepipr-v2"), "resnet18", 18));
  EXPECT_EQ(ours("run").at("deepipr-valid")[0].at("differences"), Json::array());

  write_training("run", "alexnet", kAsPublished, "pan", "synthetic");
  write("run/attack-flip.json", on(attack("flip", prune().at("points")), "alexnet", 3));
  EXPECT_EQ(names(ours("run")), Names{});
}

TEST_F(ReportPublished, LessTrainingOrFewerImagesAreSaid) {
  write_training("run", "alexnet", "epochs = 20\nlimit-train = 5000\nlimit-test = 1000\n");
  write("run/attack-flip.json", on(attack("flip", prune().at("points")), "alexnet", 3));
  EXPECT_EQ(ours("run").at("alexnet-3"),
            one(0.75, {"trained for 20 epochs", "trained on 5000 images", "1000 test images"}));
  EXPECT_CONTAINS(page_,
                  "pan 75.0% (trained for 20 epochs, trained on 5000 images, 1000 test images)");
  Json untouched = verification();
  write("run/verify.json", untouched);
  Json figure = ours("run").at("unauthorised");
  EXPECT_NEAR(figure[0].at("value").get<double>(), 0.6625, 1e-12);
  EXPECT_EQ(figure[0].at("differences"),
            Json({"published without the network", "scheme pan", "trained for 20 epochs",
                  "trained on 5000 images", "100 random passports on 1000 images"}));
  EXPECT_CONTAINS(page_, " points (published without the network, scheme pan, trained for 20");

  // Where the last epoch's weights are not those that were released, the claim says; it has two
  // sites.
  write_training("run", "alexnet", concat(kAsPublished, kKeepsBest));
  EXPECT_EQ(ours("run").at("alexnet-2"), one(0.8125, {"number of test images not known"}));
  untouched["accuracy"]["images"] = 1000;
  write("run/verify.json", untouched);
  EXPECT_EQ(ours("run").at("alexnet-2"), one(0.8125, {"1000 test images"}));
  untouched["accuracy"]["images"] = 10000;
  write("run/verify.json", untouched);
  EXPECT_EQ(ours("run").at("alexnet-2"), one(0.8125));
}

TEST_F(ReportPublished, WithoutAClaimTheEpochWhoseWeightsWereKeptSays) {
  const auto line = [](int64_t epoch, Json released, Json passport) {
    std::string text = metrics_line(epoch, 0.5, 1);
    text.pop_back();
    Json e = parse_json("line", text);
    e["test_accuracy"] = accuracy(std::move(released), std::move(passport));
    return e.dump() + "\n";
  };
  write_training("run", "alexnet", concat(kAsPublished, kKeepsBest));
  write("run/attack-flip.json", on(attack("flip", prune().at("points")), "alexnet", 3));
  folder_.write("run/metrics.jsonl",
                line(1, 0.875, 0.25) + line(2, 0.75, 0.625) + line(3, 0.8125, 0.5));
  EXPECT_EQ(ours("run").at("alexnet-3"), one(0.75)) << "the mean of both branches decides";
  write_training("run", "alexnet", concat("epochs = 200\nlimit-test = 1000\n", kKeepsBest));
  EXPECT_EQ(ours("run").at("alexnet-3"), one(0.75, {"1000 test images"}));

  // Of several networks each has an epoch of its own.
  for (const char* folder : {"a", "b"})
    write_training(folder, "resnet18", concat(kAsPublished, kKeepsBest), "none");
  folder_.write("a/metrics.jsonl",
                line(1, 0.5, nullptr) + line(2, 0.875, nullptr) + line(3, 0.75, nullptr));
  folder_.write("b/metrics.jsonl",
                line(1, 0.625, nullptr) + line(2, 0.5, nullptr) + line(3, 0.25, nullptr));
  const Made m = report({"a", "b"});
  for (const Json& f : m.json.at("published").at("figures"))
    if (f.at("id") == "deepipr-ordinary") {
      ASSERT_EQ(f.at("ours").size(), 1u);
      EXPECT_EQ(f["ours"][0].at("value"), 0.75);
      EXPECT_EQ(f["ours"][0].at("differences"), Json::array());
    }
}

TEST_F(ReportPublished, ANetworkWithoutPassportsStandsBesideOrdinaryOnes) {
  write_training("plain", "resnet18", kAsPublished, "none");
  const auto figures = ours("plain");
  EXPECT_EQ(names(figures), Names{"deepipr-ordinary"});
  EXPECT_EQ(figures.at("deepipr-ordinary")[0].at("value"), 0.75);
}

TEST_F(ReportPublished, AnAttackStandsBesideThePublishedOne) {
  const auto stolen = [&](const char* name, Json settings, double accuracy_of_it) {
    Json a = attack(name, {point(0, claim(256, accuracy(0.9, 0.9))),
                           point(1, claim(256, accuracy(accuracy_of_it, 0.2))),
                           point(2, claim(256, accuracy(accuracy_of_it - 0.125, 0.2)))});
    a["axis"] = "epochs";
    a["settings"] = std::move(settings);
    a["points"][1]["metrics"] = {{"bit dissimilarity rate", 0.375}};
    return a;
  };
  const auto settings = [](const char* init, const char* share) {
    return Json{{"init", init}, {"flips", "0.5"}, {"share", share}, {"epochs", "100"}};
  };
  write_training("run", "resnet18", kAsPublished);
  const auto write_stolen = [&](const char* file, Json a, const char* network, size_t layers) {
    write(concat("run/attack-", file, ".json"), on(std::move(a), network, layers));
  };
  write_stolen("1", stolen("fake2", settings("signs", "1"), 0.5), "resnet18", 5);
  write_stolen("2", stolen("fake2", settings("ones", "1"), 0.75), "resnet18", 5);
  write_stolen("3", stolen("fake2", settings("signs", "0.1"), 0.625), "resnet18", 5);
  auto figures = ours("run");
  EXPECT_EQ(names(figures), (Names{"deepipr-valid", "fake2-most", "resnet18-5"}));
  EXPECT_EQ(figures.at("fake2-most"), one(0.5, {"scheme pan"}));  // not the untouched network's

  std::filesystem::remove_all(path("run"));
  write_training("run", "alexnet", kAsPublished);
  write_stolen("1", stolen("fake2", settings("ones", "0.1"), 0.5), "alexnet", 3);
  write_stolen("2", stolen("erb", {{"block", "cerb"}, {"share", "0.1"}, {"epochs", "100"}}, 0.75),
               "alexnet", 3);
  write_stolen("3", stolen("erb", {{"block", "ierb"}, {"share", "1"}, {"epochs", "100"}}, 0.875),
               "alexnet", 3);
  figures = ours("run");
  EXPECT_EQ(names(figures),
            (Names{"alexnet-3", "cerb-alexnet", "cerb-alexnet-3", "plain-alexnet"}));
  EXPECT_EQ(figures.at("plain-alexnet"), one(0.5));
  EXPECT_EQ(figures.at("cerb-alexnet"), one(0.75));
  EXPECT_EQ(figures.at("cerb-alexnet-3"), one(0.75, {}, 0.375));
  EXPECT_CONTAINS(page_, ">pan 75.0%, 37.5%<");

  // Fewer epochs and images make it an approximation; as a link of a chain it is another attack.
  Json shorter = on(stolen("erb", {{"block", "cerb"}, {"share", "0.1"}, {"epochs", "20"}}, 0.75),
                    "alexnet", 3);
  shorter["limit_train"] = 2000;
  shorter["limit_test"] = 1000;
  write("run/attack-2.json", shorter);
  EXPECT_EQ(ours("run").at("cerb-alexnet"),
            one(0.75, {"attacked for 20 epochs", "attacked with 2000 images", "1000 test images"}));
  shorter["chain"] = Json::array({"prune"});
  write("run/attack-2.json", shorter);
  EXPECT_FALSE(ours("run").contains("cerb-alexnet"));
}

TEST_F(ReportPublished, RandomPassportsStandBesideThoseOfPictures) {
  write_training("run", "resnet18", kAsPublished);
  Json a = on(attack("fake1", {point(0, claim(256, accuracy(0.9, 0.9))),
                               point(100, claim(256, accuracy(0.9, 0.9)),
                                     claim(158, accuracy(0.9, 0.25), "not supported"))}),
              "resnet18", 5);
  a["axis"] = "random passports";
  a["settings"] = {{"keys", "random"}, {"sample-images", "1000"}};
  a["points"][1]["metrics"] = {{"accuracy, best of sample", 0.375}};
  write("run/attack-fake1.json", a);
  EXPECT_EQ(ours("run").at("fake1-most"),
            one(0.375, {"scheme pan", "keys of random numbers", "1000 test images"}));
  a["settings"] = {{"keys", "shuffle"}, {"sample-images", "0"}};
  write("run/attack-fake1.json", a);
  EXPECT_EQ(ours("run").at("fake1-most"), one(0.375, {"scheme pan"}));
}

TEST_F(ReportPublished, TriggersStandBesideTriggersAndBitsBesideBits) {
  write_training("run", "alexnet", kAsPublished);
  Json a = on(prune(), "alexnet", 3);
  a["points"][3]["x"] = 0.7;
  write("run/attack-prune.json", a);
  auto figures = ours("run");
  EXPECT_EQ(names(figures), (Names{"alexnet-3", "uchida-pruned"}));
  EXPECT_EQ(figures.at("uchida-pruned"), one(200.0 / 256, {"at 70%"}));
  a["points"][3]["triggers"] = accuracy(0.625, 0.5);
  write("run/attack-prune.json", a);
  EXPECT_EQ(ours("run").at("adi-pruned"), one(0.625));
  a["points"][3]["x"] = 0.65;
  write("run/attack-prune.json", a);
  figures = ours("run");
  EXPECT_EQ(figures.at("uchida-pruned"), one(200.0 / 256));
  EXPECT_FALSE(figures.contains("adi-pruned"));  // at 80% the mark was not published

  a = on(attack("fine-tune", {point(0, claim(256, accuracy(nullptr, nullptr))),
                              point(100, claim(192, accuracy(0.5, 0.5)))}),
         "alexnet", 3);
  a["settings"] = {{"mode", "ftal"}, {"task", "other"}, {"epochs", "100"}};
  a["points"][1]["metrics"] = {{"written back: public trigger accuracy", 0.25}};
  write("run/attack-fine-tune.json", a);
  figures = ours("run");
  EXPECT_EQ(figures.at("uchida-fine-tuned"), one(0.75, {"other data not known"}));
  EXPECT_EQ(figures.at("adi-fine-tuned"), one(0.25, {"other data not known"}));
  a["other_data"] = "cifar100:data";
  write("run/attack-fine-tune.json", a);
  figures = ours("run");
  EXPECT_EQ(figures.at("uchida-fine-tuned"), one(0.75));
  EXPECT_EQ(figures.at("adi-fine-tuned"), one(0.25));
  // As the recipes have it: another task has a new last layer whatever the mode.
  a["settings"]["mode"] = "rtal";
  write("run/attack-fine-tune.json", a);
  figures = ours("run");
  EXPECT_EQ(figures.at("uchida-fine-tuned"), one(0.75));
  EXPECT_EQ(figures.at("adi-fine-tuned"), one(0.25));
  a["settings"]["mode"] = "rtll";
  write("run/attack-fine-tune.json", a);
  EXPECT_FALSE(ours("run").contains("uchida-fine-tuned"));
  a["settings"]["mode"] = "rtal";
  a["other_data"] = "synthetic";
  write("run/attack-fine-tune.json", a);
  EXPECT_FALSE(ours("run").contains("uchida-fine-tuned"));
  a["other_data"] = nullptr;
  a["settings"]["task"] = "same";
  write("run/attack-fine-tune.json", a);
  EXPECT_FALSE(ours("run").contains("uchida-fine-tuned"));
}

TEST_F(ReportPublished, WhatIsListedHasItsMark) {
  write("d/attack-prune.json", prune());
  const Made m = report({"d"});
  expect_sound(m.page);
  std::map<std::string, Json> figures, curves;
  for (const Json& f : m.json.at("published").at("figures")) {
    figures[f.at("id")] = f;
    EXPECT_EQ(f.at("mark") == "not found", f.at("value").is_null()) << f;
    EXPECT_TRUE(f.at("ours").empty()) << "of no tiny network";
  }
  EXPECT_EQ(figures.at("fake1-most").at("value"), "at most 35%");
  EXPECT_EQ(figures["fake1-most"].at("mark"), "exact");
  EXPECT_EQ(figures.at("fake1-histogram").at("mark"), "approximate");
  EXPECT_EQ(figures.at("deepipr-tables").at("mark"), "not found");
  EXPECT_EQ(figures.at("pan-valid").at("value"), "63.95%");
  EXPECT_EQ(figures.at("pan-baseline-valid").at("value"), "59.80%");
  EXPECT_EQ(figures.at("ierb-resnet18-18").at("value"), "83.92%, 36.52%");
  EXPECT_EQ(figures["ierb-resnet18-18"].at("layers"), 18);
  EXPECT_TRUE(figures["pan-valid"].at("layers").is_null());
  for (const Json& c : m.json["published"].at("curves")) curves[c.at("id")] = c;
  EXPECT_EQ(curves.at("pan-flip").at("mark"), "exact");
  EXPECT_EQ(curves["pan-flip"].at("points")[1], Json({{"flipped", 0.1}, {"accuracy", 0.0544}}));
  EXPECT_EQ(curves.at("deepipr-poster-flip").at("mark"), "approximate");
  for (const char* text :
       {"arXiv 2010.15824", "arXiv 1909.07830", "arXiv 2303.11595",
        "54.34% (5 layers); 53.95% (7 layers); 55.43% (10 layers)", "Caltech\u2011256"})
    EXPECT_CONTAINS(m.page, text);
  EXPECT_EQ(m.page.find(">ours<"), std::string::npos) << "nothing stands beside a figure";
}

}  // namespace
}  // namespace passnorm::test
