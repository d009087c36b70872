// The bar, and what a terminal sees of a run.
#include "cli/progress.hpp"

#include <sys/ioctl.h>
#include <termios.h>

#include <thread>

#include "tests/cli/program.hpp"

namespace passnorm::test {
namespace {

const train::Progress kProgress = {.epoch = 11,
                                   .step = 30,
                                   .steps = 60,
                                   .loss_public = 1.2345,
                                   .loss_passport = 0.5,
                                   .accuracy_public = 0.5,
                                   .accuracy_passport = 0.75,
                                   .bits = 0.9375,
                                   .images_per_second = 4321};

TEST(Progress, ABarFitsAndKeepsWhatMattersMost) {
  const cli::ProgressShape shape{.epochs = 23};
  EXPECT_EQ(cli::progress_bar(kProgress, shape, 3725, 200),
            "epoch 12/23 [########........] 50% public 1.234 50.00% passport 0.500 75.00% bits "
            "93.8% 4321 images/s 1:02:05 left");
  size_t longest = 0;
  for (int columns = 200; columns >= 10; --columns) {
    const std::string bar = cli::progress_bar(kProgress, shape, 3725, columns);
    EXPECT_LE(bar.size(), static_cast<size_t>(columns));
    EXPECT_TRUE(bar.starts_with("epoch 12/"));
    if (columns < 200) {
      EXPECT_LE(bar.size(), longest);
    }
    longest = bar.size();
    if (columns < 24) continue;
    EXPECT_TRUE(bar.ends_with("1:02:05 left")) << bar;
    if (columns < 36) continue;
    EXPECT_CONTAINS(bar, "bits 93.8%");
    if (columns < 80) continue;
    EXPECT_CONTAINS(bar, " 50.00% passport ");
    EXPECT_CONTAINS(bar, " 75.00% bits");
  }
}

TEST(Progress, OnlyBranchesThatExist) {
  const std::string plain =
      cli::progress_bar(kProgress, {.epochs = 23, .has_passport = false}, 5, 200);
  EXPECT_EQ(plain,
            "epoch 12/23 [########........] 50% public 1.234 50.00% 4321 images/s 0:05 left");
  const std::string of_clouds =
      cli::progress_bar(kProgress, {.epochs = 23, .has_passport = false, .noun = "clouds"}, 5, 200);
  EXPECT_TRUE(of_clouds.ends_with(" 50.00% 4321 clouds/s 0:05 left")) << of_clouds;
  const std::string shipped =
      cli::progress_bar(kProgress, {.epochs = 23, .has_public = false}, 5, 200);
  EXPECT_EQ(shipped.find("public"), std::string::npos);
  EXPECT_CONTAINS(shipped, "passport 0.500 75.00% bits 93.8%");
}

/// A terminal of so many columns, and what it was sent.
class Terminal {
 public:
  explicit Terminal(int columns) : master_(posix_openpt(O_RDWR | O_NOCTTY)) {
    if (master_ < 0 || grantpt(master_) != 0 || unlockpt(master_) != 0)
      throw std::runtime_error("no terminal");
    name_ = ptsname(master_);
    slave_ = open(name_.c_str(), O_RDWR | O_NOCTTY);  // stays open: what is sent is not lost
    winsize size{};
    size.ws_col = static_cast<unsigned short>(columns);  // NOLINT: the type of the interface
    size.ws_row = 24;
    ioctl(slave_, TIOCSWINSZ, &size);
    reader_ = std::thread([this] {
      char buffer[4096];
      for (ssize_t n; (n = read(master_, buffer, sizeof buffer)) > 0;)
        seen_.append(buffer, static_cast<size_t>(n));
    });
  }
  ~Terminal() { finish(); }
  const std::string& name() const { return name_; }
  std::string finish() {
    if (slave_ >= 0) {
      tcdrain(slave_);
      close(slave_);
      slave_ = -1;
      reader_.join();
      close(master_);
    }
    return seen_;
  }

 private:
  int master_, slave_ = -1;
  std::string name_, seen_;
  std::thread reader_;
};

/// What stands on the screen at last, and the widest line that ever stood there.
struct Screen {
  std::vector<std::string> lines = {""};
  size_t widest = 0;
  int bars = 0;
};
Screen shown(const std::string& sent) {
  Screen s;
  size_t column = 0;
  for (size_t i = 0; i < sent.size(); ++i) {
    std::string& line = s.lines.back();
    if (sent[i] == '\r') {
      column = 0;
    } else if (sent[i] == '\n') {
      s.lines.emplace_back();
    } else if (sent.compare(i, 3, "\x1b[K") == 0) {
      if (line.ends_with(" left")) ++s.bars;
      line.resize(std::min(line.size(), column));
      i += 2;
    } else {
      line.resize(std::max(line.size(), column + 1), ' ');
      line[column++] = sent[i];
      if (line.ends_with(" left")) s.widest = std::max(s.widest, line.size());
    }
  }
  return s;
}

const Settings kRun = {
    {"--model", "tiny"}, {"--data", "synthetic:N=3000"}, {"--limit-test", "20"}, {"--epochs", "2"},
    {"--batch", "20"},   {"--schedule", "onecycle"},     {"--clip-norm", "2"},   {"--threads", "1"},
    {"--signature", "A"}};

TEST(Progress, ATerminalSeesABarThatGoes) {
  const TemporaryFolder folder;
  Terminal terminal(60);
  Running running(with("train", kRun, {{"--out", folder.path("run")}}), "", terminal.name());
  ASSERT_EQ(running.wait().code, 0);
  const Screen screen = shown(terminal.finish());
  EXPECT_GT(screen.bars, 0);
  EXPECT_GT(screen.widest, 30u);
  EXPECT_LT(screen.widest, 60u);
  ASSERT_EQ(screen.lines.size(), 4u);  // the device, two epochs and nothing behind them
  EXPECT_TRUE(screen.lines[0].starts_with("note: device: cpu")) << screen.lines[0];
  EXPECT_TRUE(screen.lines[1].starts_with("epoch 1/2  public")) << screen.lines[1];
  EXPECT_TRUE(screen.lines[2].starts_with("epoch 2/2  public")) << screen.lines[2];
  EXPECT_EQ(screen.lines[3], "");
}

TEST(Progress, TheBarGoesWhenTheRunIsStopped) {
  const TemporaryFolder folder;
  Terminal terminal(100);
  Running running(with("train", kRun, {{"--out", folder.path("run")}, {"--epochs", "1000"}}), "",
                  terminal.name());
  while (running.runs() && !std::filesystem::exists(folder.path("run/metrics.csv")))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  running.send(SIGINT);
  EXPECT_EQ(running.wait().code, 75);
  const Screen screen = shown(terminal.finish());
  ASSERT_GE(screen.lines.size(), 3u);
  for (const std::string& line : screen.lines)
    EXPECT_EQ(line.find(" left"), std::string::npos) << line;
  EXPECT_TRUE(screen.lines[screen.lines.size() - 2].starts_with("passnorm: stopped"));
}

}  // namespace
}  // namespace passnorm::test
