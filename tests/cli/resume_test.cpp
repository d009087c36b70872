// Runs that are stopped or killed, and continued: the same bytes as one that ran through.
#include <chrono>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "tests/cli/program.hpp"

namespace passnorm::test {
namespace {

using std::chrono::milliseconds;

class Interrupted : public testing::Test {
 protected:
  /// Eighty steps of a few milliseconds, half of them in each epoch.
  Settings settings(const std::string& out) const {
    return {{"--model", "tiny"},    {"--data", "synthetic:N=800"},
            {"--limit-test", "50"}, {"--epochs", "2"},
            {"--batch", "20"},      {"--lr", "0.05"},
            {"--clip-norm", "2"},   {"--schedule", "onecycle"},
            {"--keep", "best"},     {"--threads", "1"},
            {"--seed", "5"},        {"--signature", "(c) Alice"},
            {"--out", path(out)}};
  }
  std::string path(const std::string& name) const { return folder_.path(name); }
  std::string text(const std::string& name) const {
    return std::string(text_of(read_file(path(name), 1 << 26)));
  }

  /// Metrics without times: their last two columns or keys.
  std::string csv(const std::string& run) const {
    std::istringstream in(text(run + "/metrics.csv"));
    std::string out;
    for (std::string line; std::getline(in, line);) {
      for (int i = 0; i < 2; ++i) line.erase(line.rfind(','));
      out += line + "\n";
    }
    return out;
  }
  std::string jsonl(const std::string& run) const {
    std::istringstream in(text(run + "/metrics.jsonl"));
    std::string out;
    for (std::string line; std::getline(in, line);) {
      Json json = parse_json("line", line);
      json.erase("seconds");
      json.erase("images_per_second");
      out += json.dump() + "\n";
    }
    return out;
  }
  /// Trains a run that is never interrupted.
  void train_whole() {
    if (std::filesystem::exists(path("whole"))) return;
    ASSERT_EQ(passnorm(with("train", settings("whole"), {})).code, 0);
  }
  /// The run equals it.
  void expect_whole(const std::string& run) {
    train_whole();
    for (const char* file : {"/model.safetensors", "/owner.passport", "/config.toml"})
      EXPECT_TRUE(text(run + file) == text(std::string("whole") + file)) << file;
    EXPECT_EQ(csv(run), csv("whole"));
    EXPECT_EQ(jsonl(run), jsonl("whole"));
  }

  /// True as soon as the run has written its settings; false when it ended before.
  bool wait_for(Running& running, const std::string& file) const {
    while (running.runs()) {
      if (std::filesystem::exists(path(file))) return true;
      std::this_thread::sleep_for(milliseconds(1));
    }
    return std::filesystem::exists(path(file));
  }

  Finished resume(const std::string& run, const Settings& more = {}) const {
    return passnorm(with("train", {{"--resume", ""}, {"--out", path(run)}}, more));
  }

  /// Signals at 1/n, 2/n, .. of the run's time, each in a run of its own or all in one.
  void interrupt(int signal, int times, bool one_run) {
    const std::string name = "run";
    const auto start = std::chrono::steady_clock::now();
    train_whole();
    const auto length = std::chrono::steady_clock::now() - start;
    int stopped = 0;
    for (int i = 0; i < times; ++i) {
      const bool fresh = !one_run || i == 0;
      if (fresh) std::filesystem::remove_all(path(name));
      Running running(fresh ? with("train", settings(name), {})
                            : with("train", {{"--resume", ""}, {"--out", path(name)}}, {}));
      ASSERT_TRUE(wait_for(running, name + "/config.toml"));
      std::this_thread::sleep_for(one_run ? milliseconds(150) + length / times
                                          : length * i / times);
      running.send(signal);
      const Finished f = running.wait();
      if (signal != SIGKILL && f.code != 0) {
        if (f.signal == signal) continue;  // before the run listened: as good as SIGKILL
        ++stopped;
        EXPECT_EQ(f.code, 75) << f.err;
        EXPECT_EQ(f.out, "");
        EXPECT_CONTAINS(f.err, "passnorm: stopped");
        EXPECT_CONTAINS(f.err, "continue with: passnorm train --resume --out " + path(name) + "\n");
      }
      if (signal == SIGKILL && f.signal == SIGKILL) ++stopped;
      if (one_run) continue;
      const Finished rest = resume(name);
      ASSERT_EQ(rest.code, 0) << rest.err;
      expect_whole(name);
    }
    // The others were too late, or too early to be told. What is left of one run ends between two
    // signals, the sooner the faster the machine.
    EXPECT_GE(stopped, std::max(1, times / (one_run ? 10 : 4)));
    if (!one_run) return;
    const Finished rest = resume(name);
    ASSERT_EQ(rest.code, 0) << rest.err;
    expect_whole(name);
  }

  TemporaryFolder folder_;
};
using InterruptedFull = Interrupted;

TEST_F(Interrupted, StoppedOnRequestItGoesOn) { interrupt(SIGTERM, 3, false); }
TEST_F(Interrupted, StoppedAgainAndAgain) { interrupt(SIGTERM, 3, true); }
TEST_F(Interrupted, KilledItGoesOn) { interrupt(SIGKILL, 3, false); }
TEST_F(InterruptedFull, StoppedAtTwentyTimes) { interrupt(SIGTERM, 20, false); }
TEST_F(InterruptedFull, StoppedTwentyTimes) { interrupt(SIGINT, 20, true); }
TEST_F(InterruptedFull, KilledAtTwentyTimes) { interrupt(SIGKILL, 20, false); }

TEST_F(Interrupted, ASecondSignalDoesNotWait) {
  Running running(with("train", settings("slow"),
                       {{"--model", "resnet18"}, {"--batch", "64"}, {"--data", "synthetic:N=64"}}));
  ASSERT_TRUE(wait_for(running, "slow/config.toml"));
  std::this_thread::sleep_for(milliseconds(100));  // it is in its first step, which takes longer
  running.send(SIGTERM);
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_TRUE(running.runs());
  running.send(SIGINT);
  EXPECT_EQ(running.wait().signal, SIGINT);
}

/// Also where the system pipes dumps to a program, which the limit on their size does not stop.
TEST_F(Interrupted, ACrashWouldDumpNoMemory) {
  Running running(with("train", settings("run"), {}));
  ASSERT_TRUE(wait_for(running, "run/config.toml"));
  const auto of_process = [&](const char* file) {
    std::ifstream in(concat("/proc/", running.pid(), "/", file));
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_EQ(of_process("coredump_filter"), "00000000\n");
  EXPECT_CONTAINS(of_process("limits"), "Max core file size        0 ");
}

TEST_F(Interrupted, LinesOfLostEpochsGo) {
  ASSERT_EQ(passnorm(with("train", settings("run"), {})).code, 0);
  // As if it had been killed after the lines of the second epoch, in the middle of writing.
  std::filesystem::remove(path("run/checkpoints/epoch-0002.safetensors"));
  std::filesystem::remove(path("run/model.safetensors"));
  for (const char* file : {"run/metrics.csv", "run/metrics.jsonl"})
    folder_.write(file, text(file) + text(file).substr(0, 40));
  const Finished f = resume("run");
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_CONTAINS(f.err, "note: resumed from ");
  EXPECT_EQ(std::ranges::count(text("run/metrics.jsonl"), '\n'), 2);
  expect_whole("run");
}

TEST_F(Interrupted, BeforeTheFirstCheckpointItStartsAgain) {
  ASSERT_EQ(passnorm(with("train", settings("run"), {})).code, 0);
  std::filesystem::remove_all(path("run/checkpoints"));
  std::filesystem::remove(path("run/model.safetensors"));
  const Finished f = resume("run");
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_CONTAINS(f.err, "note: no checkpoint was saved yet");
  expect_whole("run");
}

TEST_F(Interrupted, AFinishedRunIsLeftAsItIs) {
  ASSERT_EQ(passnorm(with("train", settings("run"), {})).code, 0);
  const Finished f = resume("run", {{"--json", ""}});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(f.json()["epochs"], 2);
  EXPECT_FALSE(f.json()["accuracy"]["public"].is_null());
  expect_whole("run");
}

TEST_F(Interrupted, ItKeepsItsSettings) {
  ASSERT_EQ(passnorm(with("train", settings("run"), {})).code, 0);
  const std::string model = text("run/model.safetensors");
  const Settings refused[] = {{{"--lr", "0.2"}},         {{"--epochs", "3"}},
                              {{"--seed", "6"}},         {{"--schedule", "cosine"}},
                              {{"--no-flip", ""}},       {{"--scheme", "none"}},
                              {{"--limit-test", "40"}},  {{"--keep", "last"}},
                              {{"--precision", "bf16"}}, {{"--data", "synthetic:N=804"}}};
  for (const Settings& more : refused) {
    const Finished f = resume("run", more);
    EXPECT_TRUE(fails_with(2, f)) << more[0].first;
    if (more[0].first != "--data") {
      EXPECT_CONTAINS(f.err, "keeps its settings");
    }
  }
  EXPECT_EQ(resume("run", {{"--lr", "0.05"}, {"--threads", "2"}, {"--checkpoint-keep", "9"}}).code,
            0);
  {
    const Variable lr("PASSNORM_LR", "0.2");
    EXPECT_EQ(resume("run").code, 0);
  }
  EXPECT_TRUE(text("run/model.safetensors") == model);
  EXPECT_TRUE(fails_with(2, resume("run", {{"--config", path("run/config.toml")}})));
  EXPECT_TRUE(fails_with(2, resume("nothing")));
  EXPECT_TRUE(fails_with(2, passnorm({"train", "--resume"})));

  // A new run does not go over it, nor over checkpoints alone; --overwrite takes all away.
  EXPECT_TRUE(fails_with(2, passnorm(with("train", settings("run"), {}))));
  for (const char* file : {"run/model.safetensors", "run/owner.passport"})
    std::filesystem::remove(path(file));
  const Finished f = passnorm(with("train", settings("run"), {}));
  EXPECT_TRUE(fails_with(2, f));
  EXPECT_CONTAINS(f.err, "--resume");
  EXPECT_EQ(resume("run").code, 3);  // without the owner's passport
  EXPECT_EQ(passnorm(with("train", settings("run"), {{"--overwrite", ""}, {"--epochs", "1"}})).code,
            0);
  EXPECT_FALSE(std::filesystem::exists(path("run/checkpoints/epoch-0002.safetensors")));
}

TEST_F(Interrupted, ACheckpointOfAnotherRunIsRefused) {
  ASSERT_EQ(passnorm(with("train", settings("a"), {})).code, 0);
  ASSERT_EQ(passnorm(with("train", settings("b"), {{"--lr", "0.04"}})).code, 0);
  for (const auto& entry : std::filesystem::directory_iterator(path("a/checkpoints")))
    std::filesystem::copy_file(entry, path("b/checkpoints") / entry.path().filename(),
                               std::filesystem::copy_options::overwrite_existing);
  const Finished f = resume("b");
  EXPECT_TRUE(fails_with(2, f));
  EXPECT_CONTAINS(f.err, "other settings: lr was 0.05, now 0.04");
}

TEST_F(Interrupted, TheSettingsFileGivesTheRunAgain) {
  train_whole();
  const Finished f = passnorm({"train", "--config", path("whole/config.toml"), "--signature",
                               "(c) Alice", "--out", path("run")});
  ASSERT_EQ(f.code, 0) << f.err;
  expect_whole("run");
  // One that drew its secret does not tell it: the run is the same but for the passport.
  Settings drawn = settings("drawn");
  std::erase_if(drawn, [](const auto& s) { return s.first == "--seed"; });
  ASSERT_EQ(passnorm(with("train", drawn, {})).code, 0);
  const Finished again = passnorm({"train", "--config", path("drawn/config.toml"), "--signature",
                                   "(c) Alice", "--out", path("again")});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(text("again/config.toml"), text("drawn/config.toml"));
  EXPECT_FALSE(text("again/owner.passport") == text("drawn/owner.passport"));
}

}  // namespace
}  // namespace passnorm::test
