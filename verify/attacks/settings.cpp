#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/io/text.hpp"
#include "train/schedule.hpp"
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

/// The pieces of `text` between what separates them; one where nothing does.
std::vector<std::string_view> split(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> out;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(separator, at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + separator.size();
  }
  return out;
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
  for (const std::string_view piece : split(text, ",")) {
    const auto value = parse<double>(piece);
    if (!value) return {};
    out.push_back(*value);
  }
  return out;
}

std::optional<std::vector<double>> list_or_range(std::string_view text) {
  return text.find("..") == std::string_view::npos ? list(text) : range(text);
}

bool is_schedule(std::string_view text) {
  try {
    train::Schedule::parse(text);
    return true;
  } catch (const Error&) {
    return false;
  }
}

using Kind = SettingValues::Kind;

bool is_one(const SettingValues& values, std::string_view text) {
  const auto in_range = [&](double v) { return v >= values.least && v <= values.most; };
  const auto is_choice = [&](std::string_view piece) {
    return std::ranges::count(split(values.choices, " | "), piece) > 0;
  };
  switch (values.kind) {
    case Kind::kText:
      return true;
    case Kind::kInteger: {
      const auto value = parse<int64_t>(text);
      return value && in_range(static_cast<double>(*value));
    }
    case Kind::kNumber: {
      const auto value = parse<double>(text);
      return value && in_range(*value);
    }
    case Kind::kNumbers: {
      const auto all = list_or_range(text);
      return all && std::ranges::all_of(*all, in_range);
    }
    case Kind::kOneOf:
      return is_choice(text);
    case Kind::kSomeOf:
      return std::ranges::all_of(split(text, ","), is_choice);
    case Kind::kSchedule:
      return is_schedule(text);
  }
  return false;
}

std::string expected(const SettingValues& values) {
  switch (values.kind) {
    case Kind::kText:
      return "text";
    case Kind::kInteger:
      return concat("an integer from ", static_cast<int64_t>(values.least), " to ",
                    static_cast<int64_t>(values.most));
    case Kind::kNumber:
      return concat("a number from ", values.least, " to ", values.most);
    case Kind::kNumbers:
      return concat("numbers from ", values.least, " to ", values.most,
                    ", as in 0,0.5,1 or 0..1:0.1 (from, to, a step that divides it)");
    case Kind::kOneOf:
      return std::string(values.choices);
    case Kind::kSomeOf:
      return concat("some of ", values.choices, ", with commas between them,");
    case Kind::kSchedule:
      return "constant, multistep:E,E.., step:N:F, step:N:F:S, cosine or onecycle, also behind "
             "warmup:N+,";
  }
  return {};
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
  for (const AttackSetting& s : known)
    if (const std::string& value = text(s.name); !is_one(s.values, value))
      fail(Fault::kUsage, "setting ", s.name, ": ", expected(s.values), " was expected, not ",
           quote(value));
}

const std::string& AttackSettings::text(std::string_view name) const {
  const auto it = values_.find(name);
  PASSNORM_CHECK(it != values_.end(), "no setting ", name);
  return it->second;
}

int64_t AttackSettings::integer(std::string_view name) const {
  const auto value = parse<int64_t>(text(name));
  PASSNORM_CHECK(value, "setting ", name, " is no integer");
  return *value;
}

double AttackSettings::number(std::string_view name) const {
  const auto value = parse<double>(text(name));
  PASSNORM_CHECK(value, "setting ", name, " is no number");
  return *value;
}

std::vector<double> AttackSettings::numbers(std::string_view name) const {
  auto values = list_or_range(text(name));
  PASSNORM_CHECK(values, "setting ", name, " is no list of numbers");
  return std::move(*values);
}

std::vector<std::string> AttackSettings::texts(std::string_view name) const {
  const auto pieces = split(text(name), ",");
  return {pieces.begin(), pieces.end()};
}

bool AttackSettings::flag(std::string_view name) const { return text(name) == "yes"; }

}  // namespace passnorm::verify
