#include "cli/options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>

#include "engine/io/json.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::cli {
namespace {

using Type = Setting::Type;
using Reach = Setting::Reach;
using Source = Setting::Source;

template <class T>
std::optional<T> parse(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || (value == T{} && text[0] == '-')) return {};
  return value;
}

/// Values that files and lines can hold.
bool is_plain(const std::string& text) {
  if (std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    return false;
  try {
    dump_json("text", Json(text));
    return true;
  } catch (const Error&) {
    return false;  // not UTF-8
  }
}

/// Puts the place before what the value's own check says.
[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  fail(Fault::kUsage, where, ": ", why);
}

/// where: the option, variable or place in a file; found: what stands there.
void assign(Setting& s, const std::string& text, const std::string& where,
            const std::string& found) {
  bool taken = false;
  try {
    taken = s.set(text);
  } catch (const Error& e) {
    refuse(where, e.what());
  }
  if (!taken) refuse(where, s.expected + " was expected, not " + found);
}

/// What the environment says, where it may.
void assign_variable(Setting& s) {
  const std::string variable = s.variable();
  const char* const value = std::getenv(variable.c_str());
  if (value == nullptr || s.reach != Reach::kAny) return;
  assign(s, value, variable, quote(value));
  s.source = Source::kEnvironment;
}

bool fits(Type type, Assignment::Type given) {
  switch (type) {
    case Type::kText:
      return given == Assignment::Type::kText;
    case Type::kInteger:
      return given == Assignment::Type::kInteger;
    case Type::kNumber:
      return given == Assignment::Type::kNumber || given == Assignment::Type::kInteger;
    case Type::kFlag:
      return given == Assignment::Type::kBoolean;
  }
  return false;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string_view>& known) {
  const std::string_view near = nearest(name, known);
  return near.empty() ? std::string() : fmt::format("; did you mean {}?", near);
}

}  // namespace

std::string Setting::variable() const {
  std::string v = "PASSNORM_" + name;
  for (char& c : v) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return v;
}

Setting& OptionTable::add(Setting setting, const char* help, const char* type,
                          std::string shown_default) {
  auto s = std::make_shared<Setting>(std::move(setting));
  const std::string option = "--" + s->name;
  const auto take = [s, option](const std::string& text) {
    assign(*s, text, option, quote(text));
    s->given = text;
    s->source = Source::kCommandLine;
  };
  if (s->type == Type::kFlag) {
    s->option = command_->add_flag_function(
        s->reach == Reach::kCall ? option : option + ",!--no-" + s->name,
        [take, option](int64_t count) {
          if (count == 0) refuse(option, "given together with its opposite");
          take(count > 0 ? "true" : "false");
        },
        help);
    s->option->disable_flag_override();  // --name=value: CLI11 fails on a value that is no number
  } else {
    s->option =
        command_->add_option(option, CLI::callback_t([take, option](const CLI::results_t& given) {
                               if (given.size() > 1) refuse(option, "given more than once");
                               take(given.at(0));
                               return true;
                             }),
                             help);
    s->option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->type_name(type);
    if (!shown_default.empty()) s->option->default_str(shown_default);
  }
  s->option->group(group_);
  settings_.push_back(s);
  return *s;
}

Setting& OptionTable::text(const char* name, std::string& to, const char* help, const char* type,
                           Check check) {
  return add({.name = name,
              .type = Type::kText,
              .expected = "plain UTF-8 text",
              .set =
                  [&to, check = std::move(check)](const std::string& text) {
                    if (!is_plain(text)) return false;
                    if (check) check(text);
                    to = text;
                    return true;
                  },
              .toml = [&to] { return toml_string(to); }},
             help, type, to);
}

Setting& OptionTable::choice(const char* name, std::string& to, std::vector<std::string> values,
                             const char* help) {
  const std::string names = fmt::format("{}", fmt::join(values, ", ")),
                    shown = fmt::format("{}", fmt::join(values, " | "));
  const std::string whole = *help == '\0' ? shown : shown + ": " + help;
  return add({.name = name,
              .type = Type::kText,
              .expected = "one of " + names,
              .set =
                  [&to, values = std::move(values)](const std::string& text) {
                    if (std::ranges::find(values, text) == values.end()) return false;
                    to = text;
                    return true;
                  },
              .toml = [&to] { return toml_string(to); }},
             whole.c_str(), "NAME", to);
}

template <class T>
Setting& OptionTable::add_integer(const char* name, T& to, const char* help, int64_t least,
                                  int64_t most) {
  const auto shown = [&to]() -> std::string {
    if constexpr (requires { *to; })
      return to ? fmt::format("{}", *to) : "";
    else
      return fmt::format("{}", to);
  };
  return add({.name = name,
              .type = Type::kInteger,
              .expected = fmt::format("an integer from {} to {}", least, most),
              .set =
                  [&to, least, most](const std::string& text) {
                    const auto value = parse<int64_t>(text);
                    if (!value || *value < least || *value > most) return false;
                    if constexpr (requires { *to; })
                      to = static_cast<uint64_t>(*value);
                    else
                      to = static_cast<T>(*value);
                    return true;
                  },
              .toml = shown},
             help, "N", shown());
}

Setting& OptionTable::integer(const char* name, int64_t& to, const char* help, int64_t least,
                              int64_t most) {
  return add_integer(name, to, help, least, most);
}
Setting& OptionTable::integer(const char* name, uint64_t& to, const char* help, int64_t least,
                              int64_t most) {
  return add_integer(name, to, help, least, most);
}
Setting& OptionTable::integer(const char* name, int& to, const char* help, int64_t least,
                              int64_t most) {
  return add_integer(name, to, help, least, most);
}
Setting& OptionTable::integer(const char* name, std::optional<uint64_t>& to, const char* help,
                              int64_t least, int64_t most) {
  return add_integer(name, to, help, least, most);
}

Setting& OptionTable::number(const char* name, float& to, const char* help, int64_t least,
                             int64_t most) {
  return add({.name = name,
              .type = Type::kNumber,
              .expected = fmt::format("a number from {} to {}", least, most),
              .set =
                  [&to, least, most](const std::string& text) {
                    const auto value = parse<float>(text);
                    if (!value || !(*value >= static_cast<float>(least)) ||
                        !(*value <= static_cast<float>(most)))
                      return false;
                    to = *value;
                    return true;
                  },
              .toml =
                  [&to] {  // the shortest decimal that is this float: 0.1, not 0.10000000149
                    std::string text = fmt::format("{}", to);
                    return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
                  }},
             help, "X", fmt::format("{:g}", to));
}

namespace {

Setting flag_setting(const char* name, bool& to, Reach reach) {
  return {.name = name,
          .type = Type::kFlag,
          .expected = "true or false",
          .reach = reach,
          .set =
              [&to](const std::string& text) {
                const bool yes = text == "true" || text == "1";
                if (!yes && text != "false" && text != "0") return false;
                to = yes;
                return true;
              },
          .toml = [&to] { return std::string(to ? "true" : "false"); }};
}

}  // namespace

Setting& OptionTable::flag(const char* name, bool& to, const char* help) {
  return add(flag_setting(name, to, Reach::kAny), help, "", {});
}
Setting& OptionTable::call_flag(const char* name, bool& to, const char* help) {
  return add(flag_setting(name, to, Reach::kCall), help, "", {});
}

const Setting& OptionTable::operator[](std::string_view name) const {
  for (const auto& s : settings_)
    if (s->name == name) return *s;
  fail(Fault::kBug, "no option ", name);
}

void OptionTable::require(std::string_view name) const {
  const Setting& s = (*this)[name];
  if (s.source == Source::kDefault)
    fail(Fault::kUsage, command_->get_name(), " needs --", name, " ", s.option->get_type_name(),
         " (passnorm ", command_->get_name(), " --help tells more)");
}

void OptionTable::take(const Assignment& a) {
  std::vector<std::string_view> known;
  for (const auto& s : settings_) {
    if (s->reach != Reach::kCall) known.push_back(s->name);
    if (s->name != a.key) continue;
    if (s->reach == Reach::kCall)
      refuse(a.key_at, s->name + " is for the command line only: --" + s->name);
    const std::string where = a.at + ": " + s->name;
    if (!fits(s->type, a.type)) refuse(where, s->expected + " was expected, not " + a.found);
    assign(*s, a.text, where, a.found);
    s->source = Source::kFile;
    s->origin = a.at;
    return;
  }
  refuse(a.key_at, "unknown setting " + quote(a.key) + did_you_mean(a.key, known));
}

// From the weakest source to the strongest: what is overridden is checked too.
void OptionTable::complete(std::span<const Assignment> file) {
  complete_from_file(file);
  for (const auto& s : settings_) {
    assign_variable(*s);
    if (!s->given) continue;
    assign(*s, *s->given, "--" + s->name, quote(*s->given));
    s->source = Source::kCommandLine;
  }
}

void OptionTable::complete_continued(std::span<const Assignment> file) {
  complete_from_file(file);
  for (const auto& s : settings_) {
    if (!s->given) continue;
    const std::string before = s->toml();
    assign(*s, *s->given, "--" + s->name, quote(*s->given));
    if (s->reach != Reach::kCall && !s->harmless && s->toml() != before)
      refuse("--" + s->name + " " + printable(*s->given),
             "the run that is continued has " + s->name + " = " + before +
                 ", and keeps its settings; leave the option out, or start a new run");
    s->source = Source::kCommandLine;
  }
}

void OptionTable::complete_from_file(std::span<const Assignment> file) {
  for (const Assignment& a : file) take(a);
}

std::string OptionTable::toml(bool without_harmless) const {
  std::string out, group;
  for (const auto& s : settings_) {
    const std::string value = s->toml();
    if (s->reach == Reach::kCall || !s->recorded || value.empty() ||
        (without_harmless && s->harmless))
      continue;
    if (s->option->get_group() != group) out += "\n# " + s->option->get_group() + "\n";
    group = s->option->get_group();
    out += s->name + " = " + value + "\n";
  }
  return out;
}

void OptionTable::from_environment() const {
  command_->preparse_callback([settings = settings_](size_t) {
    for (const auto& s : settings)
      if (const char* value = std::getenv(s->variable().c_str()); value && *value)
        assign_variable(*s);
  });
}

void check_environment(const OptionTable& options, char* const* environment) {
  constexpr std::string_view kPrefix = "PASSNORM_";
  constexpr std::string_view kOfTests[] = {"PASSNORM_DATA", "PASSNORM_PROGRAM",
                                           "PASSNORM_GOLDEN_DIR"};
  std::vector<std::string> variables;
  for (const auto& s : options.settings())
    if (s->reach == Reach::kAny) variables.push_back(s->variable().substr(kPrefix.size()));
  const std::vector<std::string_view> known(variables.begin(), variables.end());
  for (; *environment != nullptr; ++environment) {
    const std::string_view entry = *environment, variable = entry.substr(0, entry.find('='));
    if (!variable.starts_with(kPrefix) ||
        std::ranges::find(kOfTests, variable) != std::end(kOfTests))
      continue;
    const std::string_view name = variable.substr(kPrefix.size());
    if (std::ranges::find(known, name) != known.end()) continue;
    for (const auto& s : options.settings())
      if (s->variable() == variable)
        refuse(printable(variable), s->name + " is not taken from the environment: --" + s->name);
    if (const std::string_view near = nearest(name, known); !near.empty())
      refuse(printable(variable),
             concat("no option's variable; did you mean ", kPrefix, near, "?"));
  }
}

}  // namespace passnorm::cli
