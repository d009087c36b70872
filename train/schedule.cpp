#include "train/schedule.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <optional>

#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::train {
namespace {

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value)
                                                                  : std::nullopt;
}

/// What stands in front of the first `separator`, taken off `text` with it; all of it without one.
std::string_view take(std::string_view& text, char separator) {
  const size_t at = text.find(separator);
  const std::string_view part = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return part;
}

}  // namespace

Schedule Schedule::parse(std::string_view text) {
  const auto refuse = [&] {
    fail(Fault::kUsage, "schedule ", quote(text),
         ": expected constant, multistep:E,E.. (rising epochs), step:N:F (factor F in 0..1 every N "
         "epochs; step:N:F:S, S of them sooner), cosine or onecycle, each also behind warmup:N+ "
         "(epochs)");
  };
  Schedule schedule;
  schedule.text_ = text;
  std::string_view rest = text;
  if (rest.starts_with("warmup:")) {
    if (rest.find('+') == std::string_view::npos) refuse();
    const auto epochs = number<int64_t>(take(rest, '+').substr(std::string_view("warmup:").size()));
    if (!epochs || *epochs < 1) refuse();
    schedule.warmup_ = *epochs;
  }
  const bool has_values = rest.find(':') != std::string_view::npos;
  const std::string_view name = take(rest, ':');
  if (!has_values && name == "constant") {
    schedule.kind_ = Kind::kConstant;
  } else if (!has_values && name == "cosine") {
    schedule.kind_ = Kind::kCosine;
  } else if (!has_values && name == "onecycle") {
    schedule.kind_ = Kind::kOneCycle;
  } else if (has_values && name == "multistep") {
    schedule.kind_ = Kind::kMultiStep;
    for (bool more = true; more;) {
      more = rest.find(',') != std::string_view::npos;
      const auto milestone = number<int64_t>(take(rest, ','));
      auto& all = schedule.milestones_;
      if (!milestone || *milestone < 0 || (!all.empty() && *milestone <= all.back())) refuse();
      all.push_back(*milestone);
    }
  } else if (has_values && name == "step") {
    schedule.kind_ = Kind::kStep;
    const auto every = number<int64_t>(take(rest, ':'));
    const bool shifted = rest.find(':') != std::string_view::npos;
    const auto gamma = number<double>(take(rest, ':'));
    const auto shift = shifted ? number<int64_t>(rest) : 0;
    if (!every || *every < 1 || !gamma || !(*gamma > 0 && *gamma <= 1)) refuse();
    if (!shift || *shift < 0 || *shift >= *every) refuse();
    schedule.every_ = *every;
    schedule.gamma_ = *gamma;
    schedule.shift_ = *shift;
  } else {
    refuse();
  }
  return schedule;
}

double Schedule::factor_behind_warmup(int64_t epoch, double t) const {
  const auto half_cosine = [](double done) {
    return 0.5 * (1 + std::cos(std::numbers::pi * done));
  };
  switch (kind_) {
    case Kind::kConstant:
      return 1;
    case Kind::kMultiStep: {
      int passed = 0;
      for (const int64_t milestone : milestones_) passed += epoch >= milestone;
      return std::pow(0.1, passed);
    }
    case Kind::kStep:
      return std::pow(gamma_, static_cast<double>((epoch + shift_) / every_));
    case Kind::kCosine:
      return half_cosine(t);
    case Kind::kOneCycle: {
      constexpr double kRise = 0.2, kStart = 0.04;
      return t < kRise ? kStart + (1 - kStart) * t / kRise : half_cosine((t - kRise) / (1 - kRise));
    }
  }
  fail(Fault::kBug, "schedule ", text_);
}

float Schedule::factor(int64_t epoch, int64_t step, int64_t epochs, int64_t steps_per_epoch) const {
  const auto steps = static_cast<double>(steps_per_epoch);
  const double done = static_cast<double>(epoch) * steps + static_cast<double>(step) + 0.5;
  const double t = done / (static_cast<double>(epochs) * steps);
  const double rise =
      warmup_ > 0 ? std::min(1.0, done / (static_cast<double>(warmup_) * steps)) : 1;
  return static_cast<float>(rise * factor_behind_warmup(epoch, t));
}

}  // namespace passnorm::train
