#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/io/text.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::verify {
namespace {

template <class T>
std::optional<T> parse(std::string_view text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || text.empty()) return {};
  if constexpr (std::is_floating_point_v<T>)
    if (!std::isfinite(value)) return {};
  return value;
}

template <class... Parts>
[[noreturn]] void refuse(std::string_view name, const std::string& text, const Parts&... expected) {
  fail(Fault::kUsage, "setting ", name, ": ", expected..., " was expected, not ", quote(text));
}

/// Both ends included; the step divides the range, so that no end is lost to rounding.
std::optional<std::vector<double>> range(std::string_view text) {
  constexpr double kMost = 1000;
  const size_t dots = text.find(".."), colon = text.find(':');
  if (dots == std::string_view::npos || colon == std::string_view::npos || colon < dots) return {};
  const auto from = parse<double>(text.substr(0, dots)),
             to = parse<double>(text.substr(dots + 2, colon - dots - 2)),
             step = parse<double>(text.substr(colon + 1));
  if (!from || !to || !step || *step <= 0 || *to < *from) return {};
  const double steps = std::round((*to - *from) / *step);
  if (steps > kMost || std::abs(steps * *step - (*to - *from)) > 1e-6 * *step) return {};
  std::vector<double> out;
  for (double i = 0; i <= steps; ++i)
    out.push_back(steps == 0 ? *from : *from + (*to - *from) * i / steps);
  return out;
}

std::optional<std::vector<double>> list(std::string_view text) {
  std::vector<double> out;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const auto value = parse<double>(text.substr(at, end - at));
    if (!value) return {};
    out.push_back(*value);
    at = end + 1;
  }
  return out;
}

}  // namespace

AttackSettings::AttackSettings(std::span<const AttackSetting> known,
                               const std::map<std::string, std::string>& given) {
  std::vector<std::string_view> names;
  for (const AttackSetting& s : known) {
    names.push_back(s.name);
    values_.emplace(s.name, s.value);
  }
  for (const auto& [name, value] : given) {
    const auto it = values_.find(name);
    if (it != values_.end()) {
      it->second = value;
      continue;
    }
    const std::string_view near = nearest(name, names);
    std::string all;
    for (const std::string_view n : names) all += concat(all.empty() ? "" : ", ", n);
    fail(Fault::kUsage, "unknown setting ", quote(name),
         near.empty() ? "" : concat("; did you mean ", near, "?"),
         all.empty() ? "; this attack has none" : concat("; known: ", all));
  }
}

const std::string& AttackSettings::text(std::string_view name) const {
  const auto it = values_.find(name);
  PASSNORM_CHECK(it != values_.end(), "no setting ", name);
  return it->second;
}

int64_t AttackSettings::integer(std::string_view name, int64_t least, int64_t most) const {
  const auto value = parse<int64_t>(text(name));
  if (!value || *value < least || *value > most)
    refuse(name, text(name), "an integer from ", least, " to ", most);
  return *value;
}

double AttackSettings::number(std::string_view name, double least, double most) const {
  const auto value = parse<double>(text(name));
  if (!value || *value < least || *value > most)
    refuse(name, text(name), "a number from ", least, " to ", most);
  return *value;
}

std::vector<double> AttackSettings::numbers(std::string_view name, double least,
                                            double most) const {
  const std::string& given = text(name);
  const auto values = given.find("..") == std::string::npos ? list(given) : range(given);
  if (!values || std::ranges::any_of(*values, [&](double v) { return !(v >= least && v <= most); }))
    refuse(name, given, "numbers from ", least, " to ", most,
           ", as in 0,0.5,1 or 0..1:0.1 (from, to, a step that divides it)");
  return *values;
}

bool AttackSettings::flag(std::string_view name) const {
  return choice(name, {"yes", "no"}) == "yes";
}

const std::string& AttackSettings::choice(std::string_view name,
                                          std::initializer_list<std::string_view> choices) const {
  const std::string& given = text(name);
  if (std::ranges::find(choices, given) != choices.end()) return given;
  std::string names;
  for (const std::string_view c : choices) names += concat(names.empty() ? "" : " | ", c);
  refuse(name, given, names);
}

}  // namespace passnorm::verify
