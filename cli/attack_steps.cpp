#include "cli/attack_steps.hpp"

#include <algorithm>
#include <tuple>

#include "engine/io/text.hpp"

namespace passnorm::cli {
namespace {

using Given = std::map<std::string, std::string>;
constexpr std::string_view kAll = "all";

/// NAME=VALUE
std::pair<std::string, std::string> assignment(const std::string& option, const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos)
    fail(Fault::kUsage, option, ": name=value was expected, not ", quote(text));
  return {text.substr(0, equals), text.substr(equals + 1)};
}

/// One --set: KEY=VALUE, or ATTACK.KEY=VALUE.
struct SetOption {
  std::string text, attack, key, value;  ///< attack: empty for whichever has the setting
};

bool has_setting(const verify::Attack& attack, std::string_view key) {
  return std::ranges::find(attack.settings, key, &verify::AttackSetting::name) !=
         attack.settings.end();
}

std::vector<SetOption> set_options(const std::string& attack, const std::vector<std::string>& set) {
  const bool all = attack == kAll;
  std::vector<SetOption> out;
  for (const std::string& text : set) {
    SetOption a{.text = text};
    std::tie(a.key, a.value) = assignment("--set", text);
    if (const size_t dot = a.key.find('.'); dot != std::string::npos) {
      a.attack = verify::attack(a.key.substr(0, dot)).name;
      a.key = a.key.substr(dot + 1);
      if (!all && a.attack != attack)
        fail(Fault::kUsage, "--set ", quote(text), ": ", attack, " was expected, not ", a.attack,
             "; what follows it has its settings behind its name: --then ",
             printable(concat(a.attack, ":", a.key, "=", a.value)));
    } else if (all && std::ranges::none_of(verify::attacks(), [&](const verify::Attack& one) {
                 return has_setting(one, a.key);
               })) {
      std::vector<std::string_view> known;
      for (const verify::Attack& one : verify::attacks())
        for (const verify::AttackSetting& s : one.settings) known.push_back(s.name);
      const std::string_view near = nearest(a.key, known);
      fail(Fault::kUsage, "--set ", quote(text), ": no attack has the setting ", quote(a.key),
           near.empty() ? "" : concat("; did you mean ", near, "?"));
    }
    out.push_back(std::move(a));
  }
  return out;
}

/// What is given for the attack; with all, KEY goes to the attacks that have it, and ATTACK.KEY
/// before it.
Given given_for(const verify::Attack& attack, const std::vector<SetOption>& options, bool all) {
  Given own, general;
  for (const SetOption& a : options) {
    const bool is_general = all && a.attack.empty();
    if (is_general ? !has_setting(attack, a.key) : !a.attack.empty() && a.attack != attack.name)
      continue;
    if (!(is_general ? general : own).emplace(a.key, a.value).second)
      fail(Fault::kUsage, "--set ", quote(a.text), ": given more than once");
  }
  own.merge(general);
  return own;
}

AttackStep step_of(const verify::Attack& attack, const Given& given) {
  try {
    return {&attack, verify::AttackSettings(attack.settings, given)};
  } catch (const Error& e) {
    fail(e.fault(), attack.name, ": ", e.what());
  }
}

/// NAME[:name=value,...]; a piece without = goes on with the value before it: rates=0,0.5.
AttackStep chained(const std::string& text) {
  const size_t colon = text.find(':');
  const verify::Attack& attack = verify::attack(text.substr(0, colon));
  std::vector<std::string> pieces;
  for (size_t at = colon; at < text.size();) {
    const size_t end = std::min(text.find(',', at + 1), text.size());
    const std::string piece = text.substr(at + 1, end - at - 1);
    if (piece.find('=') == std::string::npos && !pieces.empty())
      pieces.back() += "," + piece;
    else
      pieces.push_back(piece);
    at = end;
  }
  Given given;
  for (const std::string& piece : pieces)
    if (!given.insert(assignment("--then", piece)).second)
      fail(Fault::kUsage, "--then ", quote(text), ": a setting is given more than once");
  return step_of(attack, given);
}

}  // namespace

std::vector<AttackStep> attack_steps(const std::string& attack, const std::vector<std::string>& set,
                                     const std::vector<std::string>& then) {
  const verify::Attack* const first = attack == kAll ? nullptr : &verify::attack(attack);
  const std::vector<SetOption> options = set_options(attack, set);
  std::vector<AttackStep> steps;
  if (first) {
    steps.push_back(step_of(*first, given_for(*first, options, false)));
    for (const std::string& text : then) steps.push_back(chained(text));
    return steps;
  }
  if (!then.empty()) fail(Fault::kUsage, "--then goes on from one attack; with all there is none");
  for (const verify::Attack& a : verify::attacks())
    steps.push_back(step_of(a, given_for(a, options, true)));
  return steps;
}

std::string chain_name(std::span<const AttackStep> steps) {
  std::string out;
  for (const AttackStep& s : steps) out += concat(out.empty() ? "" : "+", s.attack->name);
  return out;
}

}  // namespace passnorm::cli
