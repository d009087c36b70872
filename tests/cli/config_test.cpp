// Settings from files, the environment and the command line.
#include <toml++/toml.h>

#include <map>
#include <set>

#include "cli/train_options.hpp"
#include "tests/cli/program.hpp"

namespace passnorm::test {
namespace {

using cli::OptionTable;
using cli::TrainOptions;

/// The refusal of a file named f.toml with this text.
std::string refused(const std::string& text) {
  return refusal(Fault::kUsage, [&] { cli::train_options_of("f.toml", text); });
}

TEST(Config, SetsWhatItNames) {
  const TrainOptions defaults = cli::train_options_of("f.toml", "");
  EXPECT_EQ(defaults.fit.epochs, 200);
  EXPECT_EQ(defaults.model, "resnet18");
  const TrainOptions o = cli::train_options_of("f.toml",
                                               "model = 'tiny'  # a comment\n"
                                               "epochs = 1_0\n"
                                               "batch = 0x20\n"
                                               "lr = 1e-1\n"
                                               "clip_norm = 2\n"
                                               "weight-decay = 0\n"
                                               "nesterov = true\n"
                                               "flip = false\n"
                                               "seed = 9223372036854775807\n"
                                               "data = \"cifar10:a b/\\u00e9\"\n");
  EXPECT_EQ(o.model, "tiny");
  EXPECT_EQ(o.fit.epochs, 10);
  EXPECT_EQ(o.fit.batch, 32);
  EXPECT_EQ(o.fit.optimizer.lr, 0.1f);
  EXPECT_EQ(o.fit.clip_norm, 2.0f);
  EXPECT_EQ(o.fit.optimizer.weight_decay, 0.0f);
  EXPECT_TRUE(o.fit.optimizer.nesterov);
  EXPECT_FALSE(o.fit.flip);
  EXPECT_EQ(o.seed, uint64_t{0x7fffffffffffffff});
  EXPECT_EQ(o.data, "cifar10:a b/\xc3\xa9");
}

TEST(Config, RefusesInOneLineThatTellsWhere) {
  const struct {
    std::string text;
    const char* where;
    std::vector<const char*> parts;
  } rows[] = {
      // unknown names
      {"\nepcohs = 3", "f.toml:2:1: ", {"unknown setting \"epcohs\"", "did you mean epochs?"}},
      {"weight_dcay = 3", "f.toml:1:1: ", {"did you mean weight-decay?"}},
      {"zzzzzz = 3", "f.toml:1:1: ", {"unknown setting \"zzzzzz\""}},
      {"\"\" = 3", "f.toml:1:1: ", {"unknown setting \"\""}},
      {"Epochs = 3", "f.toml:1:1: ", {"did you mean epochs?"}},
      // another type
      {"epochs = \"10\"", "f.toml:1:10: epochs: ", {"an integer from 1 to", "the text \"10\""}},
      {"epochs = 10.0", "f.toml:1:10: epochs: ", {"an integer from 1", "the number 10"}},
      {"epochs = true", "f.toml:1:10: epochs: ", {"an integer", "not true"}},
      {"epochs = [10]", "f.toml:1:10: epochs: ", {"an integer", "an array"}},
      {"epochs = {a = 1}", "f.toml:1:10: epochs: ", {"an integer", "a table"}},
      {"[epochs]", "f.toml:1:1: epochs: ", {"an integer", "a table"}},
      {"[[epochs]]\n", "f.toml:1:", {"an integer", "an array"}},
      {"epochs = 2020-01-01", "f.toml:1:10: epochs: ", {"an integer", "a date"}},
      {"epochs = 10:00:00", "f.toml:1:10: epochs: ", {"an integer", "a time"}},
      {"epochs = 2020-01-01T10:00:00Z", "f.toml:1:10: epochs: ", {"an integer", "a date"}},
      {"a.b = 1", "f.toml:1:1: ", {"unknown setting \"a\""}},
      {"epochs.b = 1", "f.toml:1:1: epochs: ", {"a table"}},
      {"lr = '0.1'", "f.toml:1:6: lr: ", {"a number from 0 to 1000000", "the text \"0.1\""}},
      {"lr = false", "f.toml:1:6: lr: ", {"a number"}},
      {"nesterov = 1", "f.toml:1:12: nesterov: ", {"true or false", "the integer 1"}},
      {"nesterov = 'true'", "f.toml:1:12: nesterov: ", {"true or false", "the text"}},
      {"model = 5", "f.toml:1:9: model: ", {"the integer 5"}},
      // out of range
      {"epochs = 0", "f.toml:1:10: epochs: ", {"from 1 to 2147483648", "the integer 0"}},
      {"epochs = -1", "f.toml:1:10: epochs: ", {"the integer -1"}},
      {"epochs = 9223372036854775807", "f.toml:1:10: epochs: ", {"from 1 to"}},
      {"seed = -1", "f.toml:1:8: seed: ", {"from 0 to"}},
      {"lr = -0.1", "f.toml:1:6: lr: ", {"a number from 0"}},
      {"lr = -0.0", "f.toml:1:6: lr: ", {"a number from 0"}},
      {"lr = nan", "f.toml:1:6: lr: ", {"the number nan"}},
      {"lr = inf", "f.toml:1:6: lr: ", {"the number inf"}},
      {"lr = 1e39", "f.toml:1:6: lr: ", {"a number"}},
      {"lr = 1e-300", "f.toml:1:6: lr: ", {"a number"}},
      {"momentum = 1.5", "f.toml:1:12: momentum: ", {"from 0 to 1"}},
      {"threads = 5000", "f.toml:1:11: threads: ", {"from 0 to 4096"}},
      // values with a check of their own
      {"model = 'resnet19'", "f.toml:1:9: model: ", {"unknown model \"resnet19\""}},
      {"model = 'a\\nb'", "f.toml:1:9: model: ", {"unknown model"}},
      {"model = \"a\\nb\"", "f.toml:1:9: model: ", {"plain UTF-8 text", "a\\x0ab"}},
      {"scheme = 'deepipr'", "f.toml:1:10: scheme: ", {"deepipr-v1"}},
      {"schedule = 'cosines'", "f.toml:1:12: schedule: ", {"cosine"}},
      {"data = 'imagenet'", "f.toml:1:8: data: ", {"unknown data set"}},
      {"optimizer = 'lamb'", "f.toml:1:13: optimizer: ", {"one of sgd, adam", "\"lamb\""}},
      // what files cannot say
      {"signature = 'a'", "f.toml:1:1: ", {"command line only"}},
      {"signature-ascii = 'a'", "f.toml:1:1: ", {"command line only"}},
      {"overwrite = true", "f.toml:1:1: ", {"command line only"}},
      {"resume = true", "f.toml:1:1: ", {"command line only"}},
      {"seal = true", "f.toml:1:1: ", {"command line only"}},
      {"config = 'f.toml'", "f.toml:1:1: ", {"command line only"}},
      {"passphrase-file = 'x'", "f.toml:1:1: ", {"unknown setting"}},
      // no TOML
      {"epochs = 3\nepochs = 4", "f.toml:2:", {"epochs"}},
      {"clip-norm = 3\nlr = 1\nclip_norm = 4",
       "f.toml:3:1: ",
       {"clip-norm stands here for the second time", "f.toml:1:1"}},
      {"[lr]\n[lr]", "f.toml:2:", {}},
      {"epochs = ", "f.toml:1:", {}},
      {"epochs 3", "f.toml:1:", {}},
      {"epochs = 3 4", "f.toml:1:", {}},
      {"epochs = 99999999999999999999", "f.toml:1:", {}},
      {"epochs = 1__0", "f.toml:1:", {}},
      {"model = \"tiny", "f.toml:1:", {}},
      {"model = '\xff'", "f.toml:1:", {}},
      {"model = '\xed\xa0\x80'", "f.toml:1:", {}},
      {std::string("model = '\0'", 11), "f.toml:1:", {}},
      {"\x1b[31m = 3", "f.toml:1:", {}},
  };
  for (const auto& row : rows) {
    const std::string text = refused(row.text);
    EXPECT_TRUE(text.starts_with(row.where)) << row.text << " -> " << text;
    for (const char* part : row.parts) EXPECT_CONTAINS(text, part);
  }
  // The first one counts, whatever the order of names.
  EXPECT_CONTAINS(refused("zzz = 1\naaa = 2"), "f.toml:1:1: unknown setting \"zzz\"");
  // Long and deep files end too.
  EXPECT_CONTAINS(refused("model = '" + std::string(cli::kMaxConfig, 'x') + "'"), "longer than");
  EXPECT_CONTAINS(refused("lr = " + std::string(5000, '[') + std::string(5000, ']')), "f.toml:1:");
  EXPECT_CONTAINS(refused(std::string(10000, '\n') + "x = 1"), "f.toml:10001:1: unknown");
  std::string nested = "a";
  for (int i = 0; i < 4096; ++i) nested += ".a";
  EXPECT_CONTAINS(refused(nested + " = 1"), "f.toml:1:1: unknown setting \"a\"");
  EXPECT_CONTAINS(refused("[" + nested + "]"), "f.toml:1:2: unknown setting \"a\"");
  EXPECT_CONTAINS(refused(nested + ".a = 1"), "dots");
  // The name of a file may hold anything.
  const std::string odd =
      refusal(Fault::kUsage, [&] { cli::train_options_of("a\n\x1b[31m", "x = 1"); });
  EXPECT_TRUE(odd.starts_with("a\\x0a\\x1b[31m:1:1: ")) << odd;
}

/// What toml() writes gives every value back.
TEST(Config, WhatIsWrittenIsReadBack) {
  TrainOptions o;
  CLI::App command;
  OptionTable table(command);
  cli::add_train_options(table, o);
  std::map<std::string, std::string> others = {
      {"model", "tiny"},
      {"data", "cifar10:a \"b\" \\c\\ 'd' #\xc3\xa9\xf0\x9f\x98\x80 = [x]"},
      {"normalise", "imagenet"},
      {"norm", "group"},
      {"orthogonality", "times-gram"},
      {"scheme", "deepipr-v3"},
      {"sites", "conv*,x"},
      {"passport", "shuffle"},
      {"pretrained", "../a b/\xc3\xbc"},
      {"secret", "random"},
      {"triggers", "t"},
      {"optimizer", "adam"},
      {"schedule", "warmup:5+cosine"},
      {"precision", "bf16"},
      {"keep", "best"},
      {"device", "cpu"},
      {"seed", "9223372036854775807"},
      {"lr", "0.1"},
      {"momentum", "0.99"},
      {"weight-decay", "1e-07"},
      {"label-smoothing", "1"},
      {"clip-norm", "123456789"},
      {"sign-loss", "0.3333333"}};
  std::string first;
  for (const auto& s : table.settings()) {
    if (s->reach == cli::Setting::Reach::kCall || !s->recorded) continue;
    const std::string before = s->toml();
    const auto other = others.find(s->name);
    const std::string text = other != others.end() ? other->second
                             : s->type == cli::Setting::Type::kFlag
                                 ? before == "true" ? "false" : "true"
                                 : "7";
    EXPECT_TRUE(s->set(text)) << s->name << " = " << text;
    EXPECT_NE(s->toml(), before) << s->name;
  }
  const std::string written = table.toml();
  const TrainOptions back = cli::train_options_of("f.toml", written);
  TrainOptions copy = back;
  CLI::App again;
  OptionTable table_again(again);
  cli::add_train_options(table_again, copy);
  EXPECT_EQ(table_again.toml(), written);
  EXPECT_EQ(back.data, others["data"]);
  EXPECT_EQ(back.fit.loss.sign.alpha, 0.3333333f);
  EXPECT_EQ(back.fit.optimizer.weight_decay, 1e-7f);
  // What does not change results is not part of what does.
  const std::string results = table.toml_of_results();
  for (const char* harmless : {"threads", "device", "checkpoint-keep", "data"})
    EXPECT_EQ(results.find(std::string("\n") + harmless + " ="), std::string::npos) << harmless;
  for (const char* matters : {"lr", "seed", "precision", "keep", "triggers-per-batch", "scheme"})
    EXPECT_CONTAINS(results, std::string("\n") + matters + " =");
}

TEST(Config, OrthogonalityReachesTheNetwork) {
  using Form = kernels::OrthogonalityForm;
  const std::string clouds = "model = 'pointnet'\ndata = 'synthetic3d:N=64:points=32'\nbatch = 8\n",
                    times_gram = "orthogonality = 'times-gram'\n";
  const auto form = [](const std::string& text) {
    TrainOptions o = cli::train_options_of("f.toml", text);
    return cli::set_up(o).model->options().orthogonality;
  };
  EXPECT_EQ(form(clouds), Form::kGram);
  EXPECT_EQ(form(clouds + times_gram), Form::kTimesGram);
  const std::string images = "model = 'tiny'\ndata = 'synthetic:N=40'\nbatch = 8\n";
  EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { form(images + times_gram); }),
                  "--model tiny has no transforms");
}

/// {value, from} of a setting in a dry run.
std::pair<std::string, std::string> resolved(const std::string& name, const Settings& more) {
  const Finished f = passnorm(with("train",
                                   {{"--data", "synthetic:N=40"},
                                    {"--model", "tiny"},
                                    {"--batch", "4"},
                                    {"--threads", "1"},
                                    {"--dry-run", ""},
                                    {"--json", ""}},
                                   more));
  EXPECT_EQ(f.code, 0) << f.err;
  const Json setting = f.json()["settings"][name];
  return {setting["value"], setting["from"]};
}

TEST(Config, TheCommandLineBeatsTheEnvironmentBeatsTheFile) {
  using Pair = std::pair<std::string, std::string>;
  const TemporaryFolder folder;
  const std::string file = folder.write("c.toml", "lr = 0.3\nepochs = 3\nnesterov = true\n");
  EXPECT_EQ(resolved("lr", {}), (Pair{"0.01", "default"}));
  EXPECT_EQ(resolved("lr", {{"--config", file}}), (Pair{"0.3", file + ":1:6"}));
  EXPECT_EQ(resolved("nesterov", {{"--config", file}}), (Pair{"true", file + ":3:12"}));
  EXPECT_EQ(resolved("nesterov", {{"--config", file}, {"--no-nesterov", ""}}),
            (Pair{"false", "command line"}));
  const Variable lr("PASSNORM_LR", "0.2"), nesterov("PASSNORM_NESTEROV", "false");
  EXPECT_EQ(resolved("lr", {}), (Pair{"0.2", "PASSNORM_LR"}));
  EXPECT_EQ(resolved("lr", {{"--config", file}}), (Pair{"0.2", "PASSNORM_LR"}));
  EXPECT_EQ(resolved("nesterov", {{"--config", file}}), (Pair{"false", "PASSNORM_NESTEROV"}));
  EXPECT_EQ(resolved("lr", {{"--config", file}, {"--lr", "0.1"}}), (Pair{"0.1", "command line"}));
  EXPECT_EQ(resolved("epochs", {{"--config", file}}), (Pair{"3", file + ":2:10"}));
}

TEST(Config, WhatIsOverriddenIsCheckedToo) {
  const TemporaryFolder folder;
  const std::string file = folder.write("c.toml", "lr = 'fast'\n");
  const Settings sound = {{"--data", "synthetic:N=40"}, {"--out", folder.path("out")}};
  const Finished f = passnorm(with("train", sound, {{"--config", file}, {"--lr", "0.1"}}));
  EXPECT_TRUE(fails_with(2, f));
  EXPECT_CONTAINS(f.err, "c.toml:1:6: lr: a number from 0 to 1000000 was expected");
  EXPECT_TRUE(fails_with(3, passnorm(with("train", sound, {{"--config", folder.path("none")}}))));
  EXPECT_TRUE(fails_with(3, passnorm(with("train", sound, {{"--config", folder.path()}}))));
}

TEST(Config, TheEnvironmentIsCheckedAndKeepsNoSecrets) {
  const TemporaryFolder folder;
  const Settings sound = {{"--data", "synthetic:N=40"}, {"--out", folder.path("out")}};
  const auto refuses = [&](const char* name, const char* value, const char* part) {
    const Variable variable(name, value);
    const Finished f = passnorm(with("train", sound, {}));
    EXPECT_TRUE(fails_with(2, f)) << name;
    EXPECT_CONTAINS(f.err, std::string("passnorm: ") + name + ": ");
    EXPECT_CONTAINS(f.err, part);
  };
  refuses("PASSNORM_LR", "fast", "a number from 0 to 1000000 was expected, not \"fast\"");
  refuses("PASSNORM_LR", "nan", "a number");
  refuses("PASSNORM_LR", "", "a number");
  refuses("PASSNORM_NESTEROV", "yes", "true or false");
  refuses("PASSNORM_MODEL", "resnet19", "unknown model");
  refuses("PASSNORM_EPOCH", "3", "did you mean PASSNORM_EPOCHS?");
  refuses("PASSNORM_SIGNATURE", "me", "not taken from the environment");
  refuses("PASSNORM_SEAL", "1", "not taken from the environment");
  refuses("PASSNORM_OVERWRITE", "1", "not taken from the environment");
  EXPECT_FALSE(std::filesystem::exists(folder.path("out")));
  // Variables of the tests, and such that are like no option's, are left alone.
  for (const char* name : {"PASSNORM_DATA", "PASSNORM_GOLDEN_DIR", "PASSNORM_SOMETHING_ELSE"}) {
    const Variable variable(name, "x");
    EXPECT_EQ(resolved("data", {}).second, "command line") << name;
  }
}

/// Of commands that read no file.
TEST(Config, TheMachineComesFromTheEnvironment) {
  const auto device = [](std::vector<std::string> more) {
    more.insert(more.begin(),
                {"bench", "step", "--model", "tiny", "--batch", "1", "--steps", "1", "--json"});
    const Finished f = passnorm(more);
    EXPECT_EQ(f.code, 0) << f.err;
    return f.json()["device"];
  };
  const Variable cpu("PASSNORM_DEVICE", "cpu");
  {
    const Variable one("PASSNORM_THREADS", "1");
    EXPECT_EQ(device({}), "cpu, 1 thread");
    EXPECT_EQ(device({"--threads", "2"}), "cpu, 2 threads");
  }
  {
    const Variable empty("PASSNORM_THREADS", "");
    EXPECT_EQ(device({"--threads", "1"}), "cpu, 1 thread");
  }
  const Variable many("PASSNORM_THREADS", "5000");
  for (const char* command : {"step", "inference", "loader", "kernels", "ceilings"}) {
    const Finished f = passnorm({"bench", command});
    EXPECT_TRUE(fails_with(2, f)) << command;
    EXPECT_CONTAINS(f.err, "PASSNORM_THREADS: an integer from 0 to 4096 was expected");
  }
  EXPECT_TRUE(fails_with(2, passnorm({"eval", "none", "--data", "synthetic"})));
  EXPECT_EQ(passnorm({"--help"}).code, 0);  // has no such option
}

TEST(Config, ADryRunTellsAndWritesNothing) {
  const TemporaryFolder folder;
  const std::string out = folder.path("out");
  const Settings settings = {{"--data", "synthetic:N=100"},
                             {"--model", "tiny"},
                             {"--batch", "8"},
                             {"--epochs", "3"},
                             {"--out", out},
                             {"--dry-run", ""}};
  const Finished text = passnorm(with("train", settings, {}));
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_CONTAINS(text.out, "\nepochs                 3                            command line\n");
  EXPECT_CONTAINS(text.out, "\nseed                   (drawn)                      default\n");
  EXPECT_CONTAINS(text.out, "passport  256 bits at 2 of 4 layers\n");
  EXPECT_CONTAINS(text.out, "steps     12 an epoch, 36 in all\n");
  const Finished f = passnorm(with("train", settings, {{"--json", ""}}));
  const Json json = f.json();
  EXPECT_EQ(keys(json), (std::vector<std::string>{
                            "settings", "parameters", "sites", "train_images", "test_images",
                            "trigger_images", "steps_per_epoch", "seconds_per_step", "memory"}));
  EXPECT_EQ(json["sites"], (Json{{"conv3", 128}, {"conv4", 128}}));
  EXPECT_EQ(json["steps_per_epoch"], 12);
  const Json& memory = json["memory"];
  EXPECT_EQ(memory["weights"].get<int64_t>(), json["parameters"].get<int64_t>() * 4);
  EXPECT_EQ(memory["data"], 2 * (100 + 25) * 3 * 32 * 32);
  EXPECT_EQ(memory["total"], memory["weights"].get<int64_t>() + memory["gradients"].get<int64_t>() +
                                 memory["optimizer"].get<int64_t>() +
                                 memory["data"].get<int64_t>() +
                                 memory["activations"].get<int64_t>());
  EXPECT_FALSE(std::filesystem::exists(out));
  // A larger batch needs more for its activations, and for nothing else.
  const Json larger = passnorm(with("train", settings, {{"--json", ""}, {"--batch", "64"}})).json();
  EXPECT_GT(larger["memory"]["activations"].get<int64_t>(),
            2 * memory["activations"].get<int64_t>());
  EXPECT_EQ(larger["memory"]["weights"], memory["weights"]);
  EXPECT_TRUE(fails_with(2, passnorm(with("train", settings, {{"--batch", "101"}}))));
}

}  // namespace
}  // namespace passnorm::test
