// Learning-rate schedules: a factor of the base rate for every step.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace passnorm::train {

/// Epochs count from 0; t is the middle of the step as a part of the whole run.
///   constant           1
///   multistep:100,150  0.1 to the power of the milestones (epochs) that have passed
///   step:N:F           F^floor(epoch / N)
///   step:N:F:S         F^floor((epoch + S) / N), 0 <= S < N; PAN's code for PointNet has S = 1
///   cosine             (1 + cos(pi t)) / 2
///   onecycle           rises linearly from 0.04 to 1 in the first fifth of the run, then falls as
///                      a half cosine to 0
///   warmup:N+S         S times a line that rises from 0 to 1 over the first N epochs
class Schedule {
 public:
  Schedule() = default;
  /// Error(kUsage) for anything else.
  static Schedule parse(std::string_view text);

  /// step of epoch, both from 0; epochs and steps per epoch of the whole run.
  float factor(int64_t epoch, int64_t step, int64_t epochs, int64_t steps_per_epoch) const;
  const std::string& text() const { return text_; }

 private:
  double factor_behind_warmup(int64_t epoch, double t) const;

  enum class Kind { kConstant, kMultiStep, kStep, kCosine, kOneCycle } kind_ = Kind::kConstant;
  std::vector<int64_t> milestones_;  ///< kMultiStep
  int64_t every_ = 1;                ///< kStep: epochs
  double gamma_ = 1;                 ///< kStep
  int64_t shift_ = 0;                ///< kStep: epochs
  int64_t warmup_ = 0;               ///< epochs
  std::string text_ = "constant";
};

}  // namespace passnorm::train
