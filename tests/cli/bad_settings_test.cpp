// Settings, command lines and checkpoints that must be refused. The settings come from the
// program's own table of options: a new one is tested without another line here.
#include <charconv>
#include <optional>

#include "cli/train_options.hpp"
#include "tests/cli/bad_input.hpp"

namespace passnorm::test {
namespace {

using cli::Setting;
using Cases = std::vector<BadCase>;
using Arguments = std::vector<std::string>;

class BadSettings : public BadInput {
 protected:
  struct Table {
    CLI::App command;
    cli::TrainOptions values;
    cli::OptionTable options{command};
    Table() { cli::add_train_options(options, values); }
  };
  static const std::vector<std::shared_ptr<Setting>>& settings() {
    static const Table table;
    return table.options.settings();
  }
  static Arguments train(Arguments more) {
    Arguments all = {"train", "--out", path("out")};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  /// A run with these lines in its file of settings.
  static BadCase in_file(const std::string& what, const std::string& lines,
                         const std::string& reason) {
    static int next = 0;
    const std::string file = put(concat("config", next++, ".toml"), lines);
    Arguments arguments = {"train", "--config", file};
    if (what.find("out ") == std::string::npos) arguments = train({"--config", file});
    return {what, arguments, 2, reason};
  }

  static Cases mistyped();
  static Cases out_of_range();
  static Cases misspelt();
  static Cases on_the_command_line();
  static Cases in_the_environment();
  static Cases files_of_settings();
  static Cases command_lines();
};

/// The bounds of "an integer from 1 to 2147483648".
std::optional<std::pair<int64_t, int64_t>> bounds(const Setting& s) {
  const size_t from = s.expected.find(" from "), to = s.expected.find(" to ");
  if (from == std::string::npos || to == std::string::npos) return std::nullopt;
  return std::pair{std::stoll(s.expected.substr(from + 6)), std::stoll(s.expected.substr(to + 4))};
}

bool is_count(const Setting& s) {
  return s.type == Setting::Type::kInteger || s.type == Setting::Type::kNumber;
}

Cases BadSettings::mistyped() {
  Cases cases;
  for (const auto& s : settings()) {
    const bool text = s->type == Setting::Type::kText;
    std::vector<const char*> values = {"[1, 2]", "{a = 1}", "1979-05-27"};
    values.push_back(text ? "5" : "\"five\"");
    values.push_back(s->type == Setting::Type::kFlag ? "1" : "true");
    if (s->type == Setting::Type::kInteger) values.push_back("1.5");
    for (const char* value : values)
      cases.push_back(in_file(s->name + " = " + value, concat(s->name, " = ", value, "\n"),
                              s->reach == Setting::Reach::kCall ? "for the command line only"
                                                                : s->expected + " was expected"));
  }
  return cases;
}

Cases BadSettings::out_of_range() {
  Cases cases;
  for (const auto& s : settings()) {
    if (s->reach == Setting::Reach::kCall) continue;
    if (s->type == Setting::Type::kText)
      cases.push_back(in_file(s->name + " with a bell", s->name + " = \"\\u0007\"\n", s->name));
    if (!is_count(*s)) continue;
    const auto range = bounds(*s);
    if (!range) {
      ADD_FAILURE() << s->name << " has no range: " << s->expected;
      continue;
    }
    const auto [least, most] = *range;
    cases.push_back(in_file(s->name + " too small", concat(s->name, " = ", least - 1, "\n"),
                            s->expected + " was expected"));
    const bool largest = most == std::numeric_limits<int64_t>::max();
    // Twice as much where f32 has no number between.
    const uint64_t beyond = s->type == Setting::Type::kNumber ? 2 * static_cast<uint64_t>(most) + 1
                                                              : static_cast<uint64_t>(most) + 1;
    cases.push_back(in_file(s->name + " too large", concat(s->name, " = ", beyond, "\n"),
                            largest ? ".toml:1:" : s->expected + " was expected"));
    if (s->type == Setting::Type::kNumber)
      for (const char* value : {"nan", "inf", "-inf", "-0.0"})
        cases.push_back(in_file(s->name + " = " + value, concat(s->name, " = ", value, "\n"),
                                s->expected + " was expected"));
  }
  return cases;
}

Cases BadSettings::misspelt() {
  Cases cases;
  for (const auto& s : settings()) {
    if (s->reach == Setting::Reach::kCall) continue;
    const std::string value = s->type == Setting::Type::kText   ? "\"x\""
                              : s->type == Setting::Type::kFlag ? "true"
                                                                : "1";
    cases.push_back(in_file(s->name + "z", s->name + "z = " + value + "\n",
                            concat("unknown setting \"", s->name, "z\"")));
    cases.push_back(in_file(s->name + " twice",
                            concat(s->name, " = ", value, "\n", s->name, " = ", value, "\n"),
                            ".toml:2:"));
    cases.push_back(in_file(s->name + " without a value", s->name + " =\n", ".toml:1:"));
  }
  return cases;
}

Cases BadSettings::on_the_command_line() {
  Cases cases;
  for (const auto& s : settings()) {
    const std::string option = "--" + s->name;
    cases.push_back({option + "z", train({option + "z", "1"}), 2, option + "z"});
    if (s->type == Setting::Type::kFlag) continue;
    if (s->name != "out") {
      cases.push_back({option + " without a value", train({option}), 2, option});
      cases.push_back({option + " with a bell", train({option, "\x07"}), 2, option});
      cases.push_back({option + " without UTF-8", train({option, "\xff"}), 2, option});
    }
    if (!is_count(*s)) continue;
    for (const char* value : {"", " 1", "1x", "0x10", "1e999", "99999999999999999999"})
      cases.push_back(
          {option + " '" + value + "'", train({option, value}), 2, s->expected + " was expected"});
  }
  return cases;
}

Cases BadSettings::in_the_environment() {
  Cases cases;
  for (const auto& s : settings()) {
    const std::string variable = s->variable();
    const bool any = s->reach == Setting::Reach::kAny;
    BadCase c{variable, train({"--model", "tiny", "--data", "synthetic:N=40"}), 2,
              any ? s->expected + " was expected" : variable, variable + "=\x07"};
    if (s->name == "out" || variable == "PASSNORM_DATA") continue;
    cases.push_back(c);
    if (!any) continue;
    c.what = c.variable = variable + "Z=1";
    c.reason = variable;
    cases.push_back(c);
  }
  return cases;
}

Cases BadSettings::files_of_settings() {
  Cases cases = {
      in_file("no data", "", "--data"),
      in_file("no out ", "data = \"synthetic\"\n", "--out"),
      in_file("a table", "[train]\nlr = 1\n", "train"),
      in_file("text without an end", "model = \"tiny\n", ".toml:1:"),
      in_file("no TOML", "{\"model\": \"tiny\"}\n", ".toml:1:"),
      in_file("no UTF-8", "model = \"\xff\"\n", ".toml:1:"),
      in_file("a zero byte", std::string("model = \"a\0\"\n", 12), ".toml:1:"),
      in_file("no key", "= 1\n", ".toml:1:1"),
      in_file("a key of two parts", "a.b = 1\n", "a"),
      in_file("with - and with _", "crop-pad = 2\ncrop_pad = 2\n", "stands here for the second"),
      in_file("nested deeply", "a = " + std::string(5000, '[') + "\n", ".toml:1:"),
      in_file("an unknown model", "model = \"tinny\"\n", "alexnet"),
      in_file("an unknown scheme", "scheme = \"pann\"\n", "deepipr-v1"),
      in_file("an unknown norm", "norm = \"bach\"\n", "instance"),
      in_file("an unknown schedule", "schedule = \"cosin\"\n", "schedule"),
      in_file("milestones the wrong way round", "schedule = \"multistep:9,3\"\n", "schedule"),
      in_file("an unknown data set", "data = \"cifar1:x\"\n", "did you mean"),
  };
  cases.push_back(in_file("too long", std::string(cli::kMaxConfig + 1, '#'), "longer"));
  cases.back().code = 3;
  return cases;
}

Cases BadSettings::command_lines() {
  const std::string model = path("model.safetensors"), passport = path("owner.passport");
  const Arguments data = {"--model", "tiny", "--data", "synthetic:N=40"};
  const auto with_data = [&](Arguments more) {
    Arguments all = train(data);
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  Cases cases;
  const auto add = [&](Arguments arguments, const char* reason) {
    std::string what;
    for (const std::string& a : arguments) what += a + ' ';
    cases.push_back({what, std::move(arguments), 2, reason});
  };
  add({}, "");
  add({"trian"}, "trian");
  add({"train", "eval"}, "eval");
  add({"--data", "synthetic"}, "--data");
  add({"train"}, "--data");
  add({"train", "--data", "synthetic"}, "--out");
  add({"train", "here"}, "here");
  add({"eval"}, "DIR|FILE is required");
  add({"eval", model}, "--data");
  add({"eval", model, model, "--data", "synthetic"}, "");
  add({"eval", model, "--data", "synthetic", "--batch", "0"}, "--batch");
  add({"eval", model, "--data", "synthetic", "--limit-test", "-1"}, "--limit-test");
  add({"eval", model, "--data", "synthetic", "--json", "--json=maybe"}, "--json takes no value");
  add({"verify", model}, "--passport");
  add({"verify", model, "--passport", passport, "--tests", "0"}, "--tests");
  add({"verify", model, "--passport", passport, "--null", "-3"}, "--null");
  add({"verify", model, "--passport", passport, "--seed", "x"}, "--seed");
  add({"export", model, "--out", path("o")}, "--fold");
  add({"export", model, "--fold"}, "--out");
  add({"export", model, "--fold", "--names", "torchvision", "--out", path("o")}, "--fold");
  add({"export", model, "--names", "keras", "--out", path("o")}, "keras");
  add({"export", model, "--fold", "--passport", passport, "--out", path("o")}, "--passport");
  add({"inspect"}, "FILE|DIR... is required");
  add(with_data({"--batch", "20", "--sites", "nowhere"}), "nowhere");
  add(with_data({"--scheme", "none", "--signature", "x"}), "");
  add(with_data({"--signature", "x", "--signature-ascii", "y"}), "signature");
  add(with_data({"--secret", "seed"}), "--seed");
  add(with_data({"--passport", "image"}), "pretrained");
  add(with_data({"--triggers-per-batch", "0"}), "--triggers-per-batch");
  add(with_data({"--resume", "--config", path("x")}), "--resume");
  add(with_data({"--passphrase-file", path("phrase")}), "--passphrase-file");
  add(with_data({"--epochs", "1", "--epochs", "2"}), "given more than once");
  add(with_data({"--flip", "--no-flip"}), "--flip");
  add(with_data({"--batch", "41"}), "batch");
  return cases;
}

TEST_F(BadSettings, Mistyped) { expect_refused(mistyped()); }
TEST_F(BadSettings, OutOfRange) { expect_refused(out_of_range()); }
TEST_F(BadSettings, Misspelt) { expect_refused(misspelt()); }
TEST_F(BadSettings, OnTheCommandLine) { expect_refused(on_the_command_line()); }
TEST_F(BadSettings, InTheEnvironment) { expect_refused(in_the_environment()); }
TEST_F(BadSettings, Files) { expect_refused(files_of_settings()); }
TEST_F(BadSettings, CommandLines) { expect_refused(command_lines()); }

TEST_F(BadSettings, AreMany) {
  size_t count = 0;
  for (const Cases& cases : {mistyped(), out_of_range(), misspelt(), on_the_command_line(),
                             in_the_environment(), files_of_settings(), command_lines()})
    count += cases.size();
  EXPECT_GE(count, 400u);
  std::printf("%zu cases\n", count);
}

/// A finished run of one checkpoint, and copies of it with another.
class BadCheckpoints : public BadInput {
 protected:
  static void SetUpTestSuite() {
    BadInput::SetUpTestSuite();
    const Finished f =
        passnorm({"train", "--model", "tiny", "--data", "synthetic:N=40", "--epochs", "1",
                  "--batch", "20", "--seed", "1", "--checkpoint-keep", "1", "--out", path("run")});
    ASSERT_EQ(f.code, 0) << f.err;
  }
  static BadCase resume(const std::string& what, const std::string& run, int code,
                        const std::string& reason) {
    return {what, {"train", "--resume", "--out", path(run)}, code, reason};
  }
};

TEST_F(BadCheckpoints, OfARun) {
  const std::string name = "checkpoints/epoch-0001.safetensors";
  const std::string good = text("run/" + name), settings = text("run/config.toml");
  std::string flipped = good;
  flipped[good.size() / 2] = static_cast<char>(flipped[good.size() / 2] ^ 1);
  Cases cases;
  const auto copy = [&] {
    const std::string run = concat("run", cases.size());
    std::filesystem::copy(path("run"), path(run), std::filesystem::copy_options::recursive);
    return run;
  };
  for (const auto& [what, file] : {std::pair<const char*, std::string>{"empty", ""},
                                   {"shorter than its checksum", "x"},
                                   {"cut off by a byte", good.substr(0, good.size() - 1)},
                                   {"cut off by half", good.substr(0, good.size() / 2)},
                                   {"a byte more", good + "x"},
                                   {"twice", good + good},
                                   {"a bit changed", flipped},
                                   {"a model", text("model.safetensors")}}) {
    const std::string run = copy();
    put(run + "/" + name, file);
    cases.push_back(resume(what, run, 3, "checkpoint"));
  }
  std::string run = copy();
  std::filesystem::rename(path(run + "/" + name),
                          path(run + "/checkpoints/epoch-0009.safetensors"));
  cases.push_back(resume("of another epoch", run, 3, "checkpoint"));
  run = copy();
  std::filesystem::remove(path(run + "/config.toml"));
  cases.push_back(resume("without settings", run, 2, "config.toml"));
  run = copy();
  put(run + "/config.toml", "lr = \n");
  cases.push_back(resume("with broken settings", run, 2, "config.toml:1:"));
  run = copy();
  put(run + "/config.toml", settings + "\nx = 1\n");
  cases.push_back(resume("with an unknown setting", run, 2, "unknown setting \"x\""));
  run = copy();
  std::string other = settings;
  other.replace(other.find("seed = 1"), 8, "seed = 2");
  put(run + "/config.toml", other);
  cases.push_back(resume("of another seed", run, 2, "seed"));
  cases.push_back(resume("with another option", "run", 2, "--lr 7"));
  cases.back().arguments.insert(cases.back().arguments.end(), {"--lr", "7"});
  cases.push_back({"where one is",
                   {"train", "--data", "synthetic:N=40", "--batch", "20", "--out", path("run")},
                   2,
                   "--overwrite"});
  expect_refused(cases);
}

}  // namespace
}  // namespace passnorm::test
