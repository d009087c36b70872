#include "train/schedule.hpp"

#include <charconv>
#include <cmath>
#include <numbers>

#include "kernels/runtime/check.hpp"

namespace passnorm::train {

Schedule Schedule::parse(std::string_view text) {
  Schedule schedule;
  schedule.text_ = text;
  constexpr std::string_view kMultiStep = "multistep:";
  if (text == "constant") return schedule;
  if (text == "onecycle") {
    schedule.kind_ = Kind::kOneCycle;
    return schedule;
  }
  if (text.starts_with(kMultiStep)) {
    schedule.kind_ = Kind::kMultiStep;
    const char *at = text.data() + kMultiStep.size(), *end = text.data() + text.size();
    while (true) {
      int64_t milestone = 0;
      const auto [next, error] = std::from_chars(at, end, milestone);
      const bool rising = schedule.milestones_.empty() || milestone > schedule.milestones_.back();
      if (error != std::errc() || milestone < 0 || !rising || (next != end && *next != ',')) break;
      schedule.milestones_.push_back(milestone);
      if (next == end) return schedule;
      at = next + 1;
    }
  }
  fail(Fault::kUsage, "schedule \"", text,
       "\": constant, onecycle or multistep:E,E,.. with rising epochs was expected");
}

float Schedule::factor(int64_t epoch, int64_t step, int64_t epochs, int64_t steps_per_epoch) const {
  if (kind_ == Kind::kMultiStep) {
    float factor = 1;
    for (const int64_t milestone : milestones_)
      if (epoch >= milestone) factor *= 0.1f;
    return factor;
  }
  if (kind_ == Kind::kOneCycle) {
    constexpr double kWarm = 0.2, kStart = 0.04;
    const double total = static_cast<double>(epochs * steps_per_epoch);
    const double done = (static_cast<double>(epoch * steps_per_epoch + step) + 0.5) / total;
    const double factor =
        done < kWarm ? kStart + (1 - kStart) * done / kWarm
                     : 0.5 * (1 + std::cos(std::numbers::pi * (done - kWarm) / (1 - kWarm)));
    return static_cast<float>(factor);
  }
  return 1;
}

}  // namespace passnorm::train
