// scripts/recipes: the program takes every recipe and every attack of the lists.
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "cli/train_options.hpp"
#include "engine/passport/scheme.hpp"
#include "tests/cli/program.hpp"
#include "train/data/dataset.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::test {
namespace {

namespace fs = std::filesystem;

fs::path folder() {
  return fs::path(__FILE__).parent_path().parent_path().parent_path() / "scripts/recipes";
}

std::vector<fs::path> files(const char* extension) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder()))
    if (entry.path().extension() == extension) found.push_back(entry.path());
  std::ranges::sort(found);
  return found;
}

std::string text(const fs::path& file) {
  return std::string(text_of(read_file(file.string(), 1 << 16)));
}

TEST(Recipes, EachIsATrainingRunOfItsName) {
  const auto recipes = files(".toml");
  EXPECT_GT(recipes.size(), 40u);
  for (const fs::path& file : recipes) {
    SCOPED_TRACE(file.filename());
    const cli::TrainOptions o = cli::train_options_of(file.filename().string(), text(file));
    const train::DataSpec data = train::parse_data_spec(o.data);
    std::string name = o.model + "-" + data.name + "-" + o.scheme + "-" + o.norm;
    if (o.sites == "all") name += "-all";
    const bool of_the_scheme = scheme(o.scheme).triggers;
    EXPECT_TRUE(!of_the_scheme || !o.triggers.empty());
    if (!of_the_scheme && !o.triggers.empty()) name += "-triggers";
    EXPECT_EQ(file.stem(), name);
    // PAN's code trains clouds with a passport and no triggers longer.
    const bool longer = o.model == "pointnet" && o.scheme != "none" && o.triggers.empty();
    EXPECT_EQ(o.fit.epochs, longer ? 300 : 200);
    EXPECT_EQ(o.seed, 1u);
    EXPECT_EQ(o.orthogonality, o.model == "pointnet" ? "times-gram" : "gram");  // as PAN's code
    // The network is one that can be built: its norm fits, the sites are there.
    const auto model = models::make(o.model,
                                    {.classes = data.name == "cifar100" ? 100 : 10,
                                     .norm = norm_kind(o.norm),
                                     .plan = PassportPlan::of(o.scheme, o.sites),
                                     .residual_relu = o.residual_relu,
                                     .initialise = false},
                                    make_stream(Device::cpu()));
    EXPECT_EQ(model->sites().empty(), o.scheme == "none");
  }
}

/// Words of a line of a list: an attack, then options of `passnorm attack`.
void expect_attack(const std::vector<std::string>& words) {
  std::map<std::string, std::string> given;
  const auto put = [&](const std::string& assignment) {
    const size_t equals = assignment.find('=');
    ASSERT_NE(equals, std::string::npos) << assignment;
    EXPECT_TRUE(given.emplace(assignment.substr(0, equals), assignment.substr(equals + 1)).second);
  };
  for (size_t i = 1; i < words.size(); i += 2) {
    ASSERT_LT(i + 1, words.size()) << words[i] << " needs a value";
    const std::string& value = words[i + 1];
    if (words[i] == "--set") {
      put(value);
    } else if (words[i] == "--then") {
      const size_t colon = value.find(':');
      std::vector<std::string> then = {value.substr(0, colon)};
      if (colon != std::string::npos) then.insert(then.end(), {"--set", value.substr(colon + 1)});
      expect_attack(then);
    } else {
      EXPECT_EQ(words[i], "--other-data");
      EXPECT_EQ(value, "OTHER");
    }
  }
  const verify::Attack& attack = verify::attack(words[0]);
  EXPECT_NO_THROW(verify::AttackSettings(attack.settings, given)) << words[0];
}

/// The words of every line of a list.
std::vector<std::vector<std::string>> lines_of(const std::string& list) {
  std::istringstream lines(text(folder() / (list + ".attacks")));
  std::vector<std::vector<std::string>> out;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream in(line);
    auto& words = out.emplace_back();
    for (std::string word; in >> word;) words.push_back(word);
  }
  return out;
}

TEST(Recipes, EveryLineOfTheListsIsAnAttack) {
  for (const fs::path& file : files(".attacks")) {
    const auto lines = lines_of(file.stem());
    EXPECT_GT(lines.size(), 10u) << file;
    std::set<std::vector<std::string>> known;
    for (const auto& words : lines) {
      SCOPED_TRACE(concat(file.filename().string(), ": ", testing::PrintToString(words)));
      expect_attack(words);
      EXPECT_TRUE(known.insert(words).second) << "twice";
    }
  }
}

TEST(Recipes, TheListsHaveEveryAttack) {
  for (const char* list : {"deepipr", "pan", "pointnet"}) {
    const auto lines = lines_of(list);
    for (const verify::Attack& attack : verify::attacks())
      EXPECT_TRUE(std::ranges::any_of(lines, [&](const auto& w) { return w[0] == attack.name; }))
          << list << " " << attack.name;
  }
}

TEST(RecipesFull, EveryLineOfTheListsRunsOnASmallNetwork) {
  struct Case {
    const char *list, *model, *scheme, *data, *other;
  };
  constexpr const char *kImages = "synthetic:N=400", *kClouds = "synthetic3d:N=200:points=32";
  const TemporaryFolder runs;
  for (const Case& c :
       {Case{"deepipr", "tiny", "deepipr-v1", kImages, "synthetic:N=80"},
        Case{"deepipr", "tiny", "deepipr-v2", kImages, "synthetic:N=80"},
        Case{"pan", "tiny", "pan", kImages, "synthetic:N=80"},
        Case{"table", "tiny", "pan", kImages, ""},
        Case{"pointnet", "pointnet", "pan", kClouds, "synthetic3d:N=80:points=32"}}) {
    const std::string run = runs.path(concat(c.list, "-", c.scheme));
    Finished f = passnorm({"train", "--model", c.model, "--scheme", c.scheme, "--data", c.data,
                           "--epochs", "1", "--batch", "20", "--seed", "1", "--out", run});
    ASSERT_EQ(f.code, 0) << f.err;
    for (const auto& words : lines_of(c.list)) {
      std::vector<std::string> call = {
          "attack", words[0], run,       "--passport", run + "/owner.passport",
          "--data", c.data,   "--batch", "20"};
      for (size_t i = 1; i + 1 < words.size(); i += 2) {
        if (words[i + 1].starts_with("epochs=")) continue;
        call.insert(call.end(), {words[i], words[i + 1] == "OTHER" ? c.other : words[i + 1]});
      }
      if (std::ranges::any_of(verify::attack(words[0]).settings,
                              [](const auto& setting) { return setting.name == "epochs"; }))
        call.insert(call.end(), {"--set", "epochs=1"});
      f = passnorm(call);
      EXPECT_EQ(f.code, 0) << testing::PrintToString(call) << "\n" << f.err;
    }
  }
}

}  // namespace
}  // namespace passnorm::test
