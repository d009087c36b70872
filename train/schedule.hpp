// Learning-rate schedules: a factor of the base rate for every step.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace passnorm::train {

/// constant                1
/// multistep:100,150       0.1 to the power of the milestones (epochs, from 0) that have passed
/// onecycle                rises linearly from 0.04 to 1 in the first fifth of all steps, then
/// falls as a half cosine to 0
class Schedule {
 public:
  Schedule() = default;
  /// Error(kUsage) for anything else.
  static Schedule parse(std::string_view text);

  /// step of epoch, both from 0; epochs and steps per epoch of the whole run.
  float factor(int64_t epoch, int64_t step, int64_t epochs, int64_t steps_per_epoch) const;
  const std::string& text() const { return text_; }

 private:
  enum class Kind { kConstant, kMultiStep, kOneCycle } kind_ = Kind::kConstant;
  std::vector<int64_t> milestones_;
  std::string text_ = "constant";
};

}  // namespace passnorm::train
