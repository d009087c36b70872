#include "cli/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/app.hpp"

namespace passnorm::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kLineSeconds = 10;  // between lines where there is no terminal
constexpr int kLeastColumns = 20;

double since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

std::string clock(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

int terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return std::max<int>(size.ws_col, kLeastColumns);
}

double share_done(const train::Progress& p, int64_t epochs) {
  return (static_cast<double>(p.epoch) +
          static_cast<double>(p.step) / static_cast<double>(p.steps)) /
         static_cast<double>(epochs);
}

std::string speed(const train::Progress& p, const ProgressShape& shape) {
  return fmt::format("{:.0f} {}/s", p.images_per_second, shape.noun);
}

}  // namespace

std::string progress_bar(const train::Progress& p, const ProgressShape& shape, double seconds_left,
                         int columns) {
  struct Field {
    std::string text;
    int rank;  // the highest goes first
  };
  constexpr int kBar = 16;
  const double done = share_done(p, shape.epochs);
  const int filled = std::clamp(static_cast<int>(done * kBar), 0, kBar);
  std::vector<Field> fields = {{fmt::format("epoch {}/{}", p.epoch + 1, shape.epochs), 0},
                               {fmt::format("[{:#<{}}{:.<{}}]", "", filled, "", kBar - filled), 5},
                               {fmt::format("{:.0f}%", 100 * done), 8}};
  if (shape.has_public)
    fields.insert(fields.end(), {{"public", 4},
                                 {fmt::format("{:.3f}", p.loss_public), 6},
                                 {percent(p.accuracy_public), 4}});
  if (shape.has_passport)
    fields.insert(fields.end(), {{"passport", 3},
                                 {fmt::format("{:.3f}", p.loss_passport), 6},
                                 {percent(p.accuracy_passport), 3},
                                 {fmt::format("bits {:.1f}%", 100 * p.bits), 2}});
  fields.push_back({speed(p, shape), 7});
  fields.push_back({clock(seconds_left) + " left", 1});
  for (int most = 8;; --most) {
    std::string line;
    for (const Field& f : fields)
      if (f.rank <= most) line += (line.empty() ? "" : " ") + f.text;
    if (static_cast<int>(line.size()) <= columns || most == 0)
      return line.substr(0, static_cast<size_t>(columns));
  }
}

bool ProgressLines::due() {
  if (since(last_) < kLineSeconds) return false;
  last_ = Clock::now();
  return true;
}

void ProgressLines::show(const std::string& text) {
  if (!due()) return;
  fmt::print(stderr, "{}\n", text);
  std::fflush(stderr);
}

ProgressLine::ProgressLine(const ProgressShape& shape)
    : shape_(shape), terminal_(isatty(STDERR_FILENO) == 1), start_(Clock::now()) {}

std::string ProgressLine::describe(const train::Progress& p) const {
  std::string out;
  if (shape_.has_public)
    out += fmt::format("  public {:.3f} {:>6}", p.loss_public, percent(p.accuracy_public));
  if (shape_.has_passport)
    out += fmt::format("  passport {:.3f} {:>6}  bits {:>6}", p.loss_passport,
                       percent(p.accuracy_passport), percent(p.bits));
  return out + "  " + speed(p, shape_);
}

void ProgressLine::clear() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
  drawn_ = false;
  std::fflush(stderr);
}

void ProgressLine::note(const std::string& text) {
  clear();
  fmt::print(stderr, "note: {}\n", text);
}

void ProgressLine::show(const train::Progress& p) {
  const double done = share_done(p, shape_.epochs);
  if (done_at_start_ < 0) {  // a continued run has not done it all now
    done_at_start_ = done;
    start_ = Clock::now();
  }
  if (!terminal_ && !lines_.due()) return;
  const double seen = done - done_at_start_;
  const double left = seen > 0 ? since(start_) * (1 - done) / seen : 0;
  if (terminal_) {
    // One column stays free: some terminals wrap when the last one is written.
    fmt::print(stderr, "\r\x1b[K{}", progress_bar(p, shape_, left, terminal_columns() - 1));
    drawn_ = true;
  } else {
    fmt::print(stderr, "epoch {}/{} step {}/{}{}  {} left\n", p.epoch + 1, shape_.epochs, p.step,
               p.steps, describe(p), clock(left));
  }
  std::fflush(stderr);
}

void ProgressLine::show(const train::EpochReport& e) {
  const auto branches = [](const char* name, const std::optional<train::Evaluation>& of) {
    std::string out;
    if (!of) return out;
    out = std::string("  ") + name + ":";
    if (of->public_accuracy) out += fmt::format(" public {}", percent(of->public_accuracy));
    if (of->passport_accuracy) out += fmt::format(" passport {}", percent(of->passport_accuracy));
    return out;
  };
  clear();
  fmt::print(stderr, "epoch {}/{}{}{}{}\n", e.train.epoch + 1, shape_.epochs, describe(e.train),
             branches("test", e.test), branches("triggers", e.triggers));
  std::fflush(stderr);
}

}  // namespace passnorm::cli
