// Progress of a training run on stderr.
#pragma once

#include <chrono>
#include <string>

#include "train/trainer.hpp"

namespace passnorm::cli {

struct ProgressShape {
  int64_t epochs = 1;
  bool has_public = true, has_passport = true;
  const char* noun = "images";  ///< Dataset::noun of what is trained on
};

/// One line of at most `columns` columns, without control characters: epoch, bar, loss and accuracy
/// of the branches, bits, speed, time left. In a narrow terminal the least important go.
std::string progress_bar(const train::Progress& p, const ProgressShape& shape, double seconds_left,
                         int columns);

/// Lines on stderr, one every few seconds: what comes between them is not shown.
class ProgressLines {
 public:
  /// Whether the next may be shown; if so, the wait begins again.
  bool due();
  void show(const std::string& text);

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// A bar on a terminal, else a line every few seconds.
class ProgressLine {
 public:
  explicit ProgressLine(const ProgressShape& shape);
  ~ProgressLine() { clear(); }

  void show(const train::Progress& p);
  void show(const train::EpochReport& e);
  /// A line that stays.
  void note(const std::string& text);
  /// Takes the bar away.
  void clear();

 private:
  std::string describe(const train::Progress& p) const;

  ProgressShape shape_;
  bool terminal_, drawn_ = false;
  ProgressLines lines_;
  std::chrono::steady_clock::time_point start_;
  double done_at_start_ = -1;  ///< share of the run that was done when this began to watch
};

}  // namespace passnorm::cli
