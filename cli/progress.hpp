// Progress of a training run on stderr.
#pragma once

#include <chrono>

#include "train/trainer.hpp"

namespace passnorm::cli {

class ProgressLine {
 public:
  /// has_public, has_passport: which branches to show.
  ProgressLine(int64_t epochs, bool has_public, bool has_passport);

  void show(const train::Progress& p);
  void show(const train::EpochReport& e);

 private:
  std::string describe(const train::Progress& p) const;

  int64_t epochs_;
  bool has_public_, has_passport_, terminal_;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace passnorm::cli
