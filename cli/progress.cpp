#include "cli/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/app.hpp"

namespace passnorm::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kLineSeconds = 10;  // between lines where there is no terminal

double since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

std::string clock(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace

ProgressLine::ProgressLine(int64_t epochs, bool has_public, bool has_passport)
    : epochs_(epochs),
      has_public_(has_public),
      has_passport_(has_passport),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

std::string ProgressLine::describe(const train::Progress& p) const {
  std::string out;
  if (has_public_)
    out += fmt::format("  public {:.3f} {:>6}", p.loss_public, percent(p.accuracy_public));
  if (has_passport_)
    out += fmt::format("  passport {:.3f} {:>6}  bits {:>6}", p.loss_passport,
                       percent(p.accuracy_passport), percent(p.bits));
  return out + fmt::format("  {:.0f} img/s", p.images_per_second);
}

void ProgressLine::show(const train::Progress& p) {
  if (!terminal_ && since(last_) < kLineSeconds) return;
  last_ = Clock::now();
  const double done =
      (static_cast<double>(p.epoch) + static_cast<double>(p.step) / static_cast<double>(p.steps)) /
      static_cast<double>(epochs_);
  const double left = since(start_) * (1 - done) / done;
  constexpr int kWidth = 20;
  const int filled = static_cast<int>(done * kWidth);
  const std::string bar =
      terminal_ ? fmt::format("\r\x1b[K[{:#<{}}{:.<{}}] ", "", filled, "", kWidth - filled)
                : std::string();
  fmt::print(stderr, "{}epoch {}/{} step {}/{}{}  {} left{}", bar, p.epoch + 1, epochs_, p.step,
             p.steps, describe(p), clock(left), terminal_ ? "" : "\n");
  std::fflush(stderr);
}

void ProgressLine::show(const train::EpochReport& e) {
  std::string test;
  if (e.test) {
    test = "  test:";
    if (e.test->public_accuracy)
      test += fmt::format(" public {}", percent(e.test->public_accuracy));
    if (e.test->passport_accuracy)
      test += fmt::format(" passport {}", percent(e.test->passport_accuracy));
  }
  fmt::print(stderr, "{}epoch {}/{}{}{}\n", terminal_ ? "\r\x1b[K" : "", e.train.epoch + 1, epochs_,
             describe(e.train), test);
}

}  // namespace passnorm::cli
