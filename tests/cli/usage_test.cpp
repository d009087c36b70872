// What the program says of itself, and how it refuses.
#include <sstream>

#include "tests/cli/program.hpp"

namespace passnorm::test {
namespace {

/// Every command, and those inside of commands.
const std::vector<std::vector<std::string>> kCommands = {{},
                                                         {"doctor"},
                                                         {"demo"},
                                                         {"train"},
                                                         {"eval"},
                                                         {"verify"},
                                                         {"attack"},
                                                         {"report"},
                                                         {"export"},
                                                         {"inspect"},
                                                         {"bench"},
                                                         {"bench", "step"},
                                                         {"bench", "inference"},
                                                         {"bench", "loader"},
                                                         {"bench", "kernels"},
                                                         {"bench", "ceilings"},
                                                         {"data"},
                                                         {"data", "triggers"},
                                                         {"data", "manifest"}};

std::string help(std::vector<std::string> command) {
  command.push_back("--help");
  return passnorm(command).out;
}

/// With one blank wherever there are blanks and ends of lines.
std::string unwrapped(const std::string& text) {
  std::istringstream in(text);
  std::string out;
  for (std::string word; in >> word;) out += (out.empty() ? "" : " ") + word;
  return out;
}

TEST(Program, Version) {
  const Finished f = passnorm({"--version"});
  EXPECT_EQ(f.code, 0);
  EXPECT_TRUE(f.out.starts_with("passnorm 0.")) << f.out;
  EXPECT_EQ(std::ranges::count(f.out, '\n'), 1);
  EXPECT_EQ(f.err, "");
}

/// The libraries of a GPU are opened only where there is one.
TEST(Program, StartsAtOnce) {
  if (!kOptimised) GTEST_SKIP() << "of optimised builds";
  double least = 1;
  for (int i = 0; i < 5; ++i) {
    const double start = processor_seconds();
    passnorm({"--version"});
    least = std::min(least, processor_seconds() - start);
  }
  EXPECT_LT(least, 0.06);
}

TEST(Program, EveryCommandExplainsItself) {
  const struct {
    std::vector<std::string> command;
    std::vector<std::string> parts;
  } rows[] = {
      {{},
       {"train", "eval", "verify", "data", "demo", "doctor", "export", "inspect", "bench",
        "Exit codes:"}},
      {{"train"}, {"--scheme", "Examples:\n  passnorm train", "--seed"}},
      {{"eval"}, {"--passport", "Example: passnorm eval"}},
      {{"verify"}, {"--tests", "Examples:\n  passnorm verify", "--null", "--black-box"}},
      {{"attack"}, {"--list", "--set KEY=VALUE", "Examples:\n  passnorm attack prune"}},
      {{"report"}, {"--with-seeds", "Example: passnorm report"}},
      {{"data"},
       {"triggers", "manifest", "passnorm data COMMAND --help", "Example: passnorm data triggers"}},
      {{"data", "triggers"}, {"--count", "Examples:\n  passnorm data triggers"}},
      {{"data", "manifest"}, {"--owner-file", "Examples:\n  passnorm data manifest"}},
      {{"demo"}, {"--epochs", "--overwrite", "to expect, else 1", "Example: passnorm demo"}},
      {{"export"}, {"--names NAME", "Examples:\n  passnorm export"}},
      {{"inspect"}, {"Examples:\n  passnorm inspect"}},
      {{"bench"}, {"step", "passnorm bench COMMAND --help", "Example: passnorm bench step"}},
      {{"bench", "step"}, {"--batch", "Example: passnorm bench step"}},
  };
  for (const auto& row : rows) {
    std::vector<std::string> arguments = row.command;
    arguments.push_back("--help");
    const Finished f = passnorm(arguments);
    EXPECT_EQ(f.code, 0) << f.err;
    EXPECT_EQ(f.err, "");
    EXPECT_CONTAINS(f.out, "Usage: ");
    EXPECT_EQ(f.out.find("Exit codes:") != std::string::npos, row.command.empty());
    for (const std::string& part : row.parts) EXPECT_CONTAINS(f.out, part);
  }
}

TEST(Program, RefusesWhatItDoesNotUnderstand) {
  const TemporaryFolder folder;
  const std::string out = folder.path("run");
  const Settings sound = {
      {"--data", "synthetic:N=40"}, {"--model", "tiny"}, {"--epochs", "1"}, {"--batch", "10"},
      {"--threads", "1"},           {"--out", out}};
  const Settings refused[] = {
      {{"--model", "vgg"}},
      {{"--model", "ti\nny"}},
      {{"--data", "imagenet"}},
      {{"--data", "synthetic:N=0"}},
      {{"--data", "cifar10"}},
      {{"--scheme", "deepipr"}},
      {{"--scheme", "pan\n"}},
      {{"--norm", "spectral"}},
      {{"--sites", "features.4"}},
      {{"--sites", "co\nnv3"}},
      {{"--sites", ","}},
      {{"--sites", "conv3,,conv4"}},
      {{"--epochs", "0"}},
      {{"--epochs", "many"}},
      {{"--epochs", "1e3"}},
      {{"--batch", "0"}},
      {{"--batch", "41"}},
      {{"--optimizer", "lamb"}},
      {{"--lr", "-1"}},
      {{"--lr", "fast"}},
      {{"--lr", "nan"}},
      {{"--lr", "inf"}},
      {{"--momentum", "2"}},
      {{"--weight-decay", "-1"}},
      {{"--weight-decay", "nan"}},
      {{"--label-smoothing", "1.5"}},
      {{"--clip-norm", "-1"}},
      {{"--clip-norm", "nan"}},
      {{"--sign-loss", "-1"}},
      {{"--schedule", "cosines"}},
      {{"--schedule", "multistep:9,5"}},
      {{"--keep", "worst"}},
      {{"--normalise", "none"}},
      {{"--crop-pad", "-1"}},
      {{"--limit-train", "-1"}},
      {{"--limit-test", "-1"}},
      {{"--limit-train", "5"}},  // less than a batch
      {{"--passport", "secret"}},
      {{"--passport", "image"}},  // needs --pretrained
      {{"--passport", "shuffle"}},
      {{"--signature", "a"}, {"--signature-ascii", "b"}},
      {{"--signature-ascii", "seventeen letters"}},  // 128 channels hold 16
      {{"--signature-ascii", "\xc3\xa9"}},
      {{"--seed", "-1"}},
      {{"--seed", "x"}},
      {{"--seed", "18446744073709551616"}},
      {{"--threads", "-1"}},
      {{"--device", "toaster"}},
      {{"--device", "cuda:"}},
      {{"--device", "cuda:-1"}},
      {{"--device", "cuda:1x"}},
      {{"--unknown", ""}},
      {{"--unknown", "a\nb"}},
      {{"stray", ""}},
  };
  for (const Settings& more : refused) {
    EXPECT_TRUE(fails_with(2, passnorm(with("train", sound, more))))
        << more.back().first << " " << more.back().second;
    EXPECT_FALSE(std::filesystem::exists(out + "/model.safetensors"));
  }
  std::vector<std::string> twice = with("train", sound, {});
  twice.insert(twice.end(), {"--epochs", "2"});
  EXPECT_TRUE(fails_with(2, passnorm(twice)));

  const std::vector<std::vector<std::string>> alone = {
      {},
      {"trian"},
      {"tra\nin"},
      {"--unknown"},
      {"train"},
      {"train", "--data", "synthetic"},
      {"train", "--out", out},
      {"eval"},
      {"eval", out},
      {"eval", "--data", "synthetic"},
      {"eval", out, "--data", "synthetic", "--batch", "0"},
      {"verify", out},
      {"verify", "--passport", out},
      {"verify", out, "--passport", out, "--tests", "0"},
      {"verify", out, "--passport", out, "--null", "-1"},
      {"verify", out, "--passport", out, "--null-images", "0"},
      {"data"},
      {"data", "triggers"},
      {"data", "trigger", "--out", out},
      {"data", "triggers", "--out", out, "--count", "0"},
      {"data", "manifest"},
      {"demo", "--epochs", "0"},
      {"demo", "extra"},
      {"bench"},
      {"bench", "steps"},
      {"bench", "step", "--batch", "0"},
      {"bench", "step", "--model", "vgg"},
      {"bench", "step", "--seconds", "-1"},
  };
  for (const auto& arguments : alone)
    EXPECT_TRUE(fails_with(2, passnorm(arguments))) << (arguments.empty() ? "" : arguments.back());
}

TEST(Program, HelpFitsIntoEightyColumns) {
  for (const std::vector<std::string>& command : kCommands) {
    std::istringstream lines(help(command));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  }
}

TEST(Program, HelpClosesItsBrackets) {
  for (const std::vector<std::string>& command : kCommands) {
    const std::string text = help(command);
    for (const auto& [open, close] : {std::pair{'[', ']'}, {'(', ')'}, {'{', '}'}})
      EXPECT_EQ(std::ranges::count(text, open), std::ranges::count(text, close)) << text;
  }
  EXPECT_CONTAINS(help({"attack"}), "--then NAME[:KEY=VALUE,..]");
  EXPECT_CONTAINS(help({"train"}), "--passphrase-fd N ");  // without what CLI11 checks
}

TEST(Program, HelpNamesWhatThereIsToChoose) {
  const std::string train = unwrapped(help({"train"}));
  for (const char* values :
       {"--normalise NAME data | imagenet: ", "--passport NAME random | image | shuffle: ",
        "--secret NAME seed | random: ", "--optimizer NAME sgd | adam [sgd]",
        "--precision NAME f32 | bf16 | f16: ", "--keep NAME last | best: ",
        "--orthogonality NAME gram | times-gram: "})
    EXPECT_CONTAINS(train, values);
  EXPECT_CONTAINS(unwrapped(help({"bench", "step"})), "--precision NAME f32 | bf16 | f16: ");
  EXPECT_CONTAINS(unwrapped(help({"export"})), "--names NAME torchvision: ");
  EXPECT_CONTAINS(unwrapped(help({"data", "triggers"})), "the passphrase of the sealed file");
}

TEST(Program, ArgumentsAreCalledByWhatTheyAre) {
  EXPECT_CONTAINS(help({"eval"}), "eval [OPTIONS] DIR|FILE\n");
  EXPECT_CONTAINS(help({"eval"}), "\nArguments:\n  DIR|FILE  ");
  EXPECT_CONTAINS(help({"attack"}), "attack [OPTIONS] [NAME] [DIR|FILE]\n");
  EXPECT_CONTAINS(help({"inspect"}), "inspect [OPTIONS] FILE|DIR...\n");
}

/// The commands of a help text, each on one line.
std::vector<std::string> examples(const std::string& text) {
  std::vector<std::string> found;
  bool goes_on = false;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find("passnorm ");
    const bool begins = line.starts_with("  passnorm ") || line.starts_with("Example: passnorm ");
    if (goes_on)
      found.back() += line;
    else if (begins)
      found.push_back(line.substr(at));
    else
      continue;
    goes_on = found.back().ends_with('\\');
    if (goes_on) found.back().pop_back();
  }
  return found;
}

TEST(Program, ExamplesCanBePasted) {
  const TemporaryFolder folder;
  for (const std::vector<std::string>& command : kCommands) {
    if (command.empty()) continue;
    const std::vector<std::string> found = examples(help(command));
    EXPECT_FALSE(found.empty()) << command[0];
    for (const std::string& example : found)
      EXPECT_EQ(std::system(("sh -n '" + folder.write("example", example) + "'").c_str()), 0)
          << example;
  }
}

TEST(Program, NamesTheNearestKnownWord) {
  const struct {
    std::vector<std::string> arguments;
    const char* said;
  } rows[] = {
      {{"trian"}, "unknown command \"trian\"; did you mean train?"},
      {{"xyz"}, "unknown command \"xyz\" ("},
      {{"bench", "stpe"}, "unknown command \"stpe\"; did you mean step?"},
      {{"train", "--epcohs", "3"}, "unknown option \"--epcohs\"; did you mean --epochs?"},
      {{"train", "--no-nestrov"}, "unknown option \"--no-nestrov\"; did you mean --no-nesterov?"},
      {{"train", "--weight_decay=1"}, "did you mean --weight-decay?"},
      {{"eval", "x", "--dat", "synthetic"}, "unknown option \"--dat\"; did you mean --data?"},
      {{"--verison"}, "unknown option \"--verison\"; did you mean --version?"},
      {{"train", "--model", "resnet81"}, "--model: unknown model \"resnet81\""},
      {{"train", "--epochs"}, "--epochs needs a value"},
      {{"train", "--epochs", "1", "--epochs", "2"}, "--epochs: given more than once"},
      {{"train", "--flip", "--no-flip"}, "--flip: given together with its opposite"},
      {{"train", "--epochs", "0"}, "--epochs: an integer from 1 to 2147483648 was expected"},
      {{"train", "stray"}, "unexpected argument \"stray\""},
      {{"train"}, "train needs --data SPEC"},
      {{"verify", "x"}, "--passport is required"},
      {{"eval", "--data", "synthetic"}, "DIR|FILE is required"},
      {{"inspect"}, "FILE|DIR... is required"},
      {{}, "a command is missing"},
  };
  for (const auto& row : rows) {
    const Finished f = passnorm(row.arguments);
    EXPECT_TRUE(fails_with(2, f));
    EXPECT_CONTAINS(f.err, row.said);
  }
}

TEST(Program, OneCommandNamesItsHelp) {
  EXPECT_CONTAINS(passnorm({"train"}).err, "passnorm train --help");
  EXPECT_CONTAINS(passnorm({"trian"}).err, "passnorm --help");
  EXPECT_CONTAINS(passnorm({}).err, "passnorm --help");
}

TEST(Program, RefusesFilesThatAreNotWhatTheyShouldBe) {
  const TemporaryFolder folder;
  const std::string text = folder.write("text", "hello, this is no model\n");
  const std::string empty = folder.write("empty", "");
  std::filesystem::create_directory(folder.path("bare"));
  for (const std::string& model : {folder.path("none"), text, empty, folder.path("bare")}) {
    EXPECT_TRUE(fails_with(3, passnorm({"eval", model, "--data", "synthetic:N=8"}))) << model;
    EXPECT_TRUE(fails_with(3, passnorm({"verify", model, "--passport", text}))) << model;
  }
  const std::string out = folder.path("run");
  for (const std::string& data :
       {"cifar10:" + folder.path("none"), "cifar10:" + folder.path("bare"), "cifar100:" + text})
    EXPECT_TRUE(fails_with(3, passnorm({"train", "--data", data, "--out", out}))) << data;
  EXPECT_TRUE(fails_with(3, passnorm({"train", "--data", "synthetic:N=80", "--model", "tiny",
                                      "--batch", "10", "--out", text + "/run"})));
  EXPECT_TRUE(fails_with(3, passnorm({"train", "--data", "synthetic:N=80", "--model", "tiny",
                                      "--passport", "image", "--pretrained", text, "--out", out})));
}

TEST(Program, BenchStep) {
  const Finished f = passnorm({"bench", "step", "--model", "tiny", "--scheme", "pan", "--batch",
                               "4", "--steps", "3", "--threads", "1", "--json"});
  ASSERT_EQ(f.code, 0) << f.err;
  const Json json = f.json();
  EXPECT_GT(json.at("images_per_second").get<double>(), 0);
  EXPECT_EQ(json.at("steps"), 3);
  EXPECT_EQ(json.at("batch"), 4);
  EXPECT_EQ(json.at("model"), "tiny");
  const Json& ms = json.at("milliseconds");
  EXPECT_LE(ms.at("least").get<double>(), ms.at("median").get<double>());
  EXPECT_LE(ms.at("median").get<double>(), ms.at("most").get<double>());
  EXPECT_NEAR(json["images_per_second"].get<double>(), 4e3 / ms["median"].get<double>(),
              1e-6 * 4e3);
}

/// A network of clouds has no folded form.
TEST(Program, BenchInferenceOfClouds) {
  const Finished f = passnorm({"bench", "inference", "--model", "pointnet", "--batch", "2",
                               "--rounds", "1", "--threads", "1", "--json"});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(keys(f.json().at("networks")),
            (std::vector<std::string>{"plain", "public", "passport"}));
}

TEST(Program, SaysWhenItsResultIsLost) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "needs /dev/full";
  const Finished f = passnorm(
      {"bench", "step", "--model", "tiny", "--batch", "1", "--steps", "1", "--json"}, "/dev/full");
  EXPECT_TRUE(fails_with(5, f));
}

}  // namespace
}  // namespace passnorm::test
