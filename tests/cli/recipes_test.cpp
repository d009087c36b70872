// scripts/recipes: the program takes every recipe and every attack of the lists.
#include <filesystem>
#include <fstream>
#include <map>
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
    EXPECT_EQ(file.stem(), name);
    EXPECT_EQ(o.fit.epochs, 200);
    EXPECT_EQ(o.seed, 1u);
    EXPECT_EQ(scheme(o.scheme).triggers, !o.triggers.empty());
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

TEST(Recipes, EveryLineOfTheListsIsAnAttack) {
  for (const fs::path& file : files(".attacks")) {
    SCOPED_TRACE(file.filename());
    std::istringstream lines(text(file));
    size_t attacks = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line.empty() || line[0] == '#') continue;
      SCOPED_TRACE(line);
      std::istringstream in(line);
      std::vector<std::string> words;
      for (std::string word; in >> word;) words.push_back(word);
      expect_attack(words);
      ++attacks;
    }
    EXPECT_GT(attacks, 10u);
  }
}

TEST(Recipes, TheListsHaveEveryAttack) {
  for (const char* list : {"default.attacks", "small.attacks"})
    for (const verify::Attack& attack : verify::attacks())
      EXPECT_CONTAINS(text(folder() / list), concat("\n", attack.name));
}

}  // namespace
}  // namespace passnorm::test
