#include "cli/report_names.hpp"

#include <algorithm>
#include <filesystem>
#include <set>

#include "kernels/runtime/check.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::cli {
namespace {

/// " (mode = rtal, epochs = 9)"; nothing of nothing.
std::string in_brackets(const SettingTexts& settings) {
  std::string text;
  for (const auto& [name, value] : settings)
    text += (text.empty() ? " (" : ", ") + name + " = " + value;
  return text.empty() ? text : text + ")";
}

/// Those that do not have their defaults.
SettingTexts chosen(const std::string& name, SettingTexts settings) {
  const auto known = verify::attacks();
  const auto attack = std::ranges::find(known, name, &verify::Attack::name);
  if (attack == known.end()) return settings;
  std::erase_if(settings, [&](const auto& s) {
    return std::ranges::any_of(attack->settings, [&](const verify::AttackSetting& d) {
      return d.name == s.first && d.value == s.second;
    });
  });
  return settings;
}

/// All that may tell an attack from another.
SettingTexts told(const AttackRecord& a) {
  SettingTexts settings = a.settings;
  settings.emplace_back("training images", concat(a.limit_train));
  settings.emplace_back("test images", concat(a.limit_test));
  settings.emplace_back("data", a.data);
  if (!a.other_data.empty()) settings.emplace_back("other data", a.other_data);
  settings.emplace_back("triggers", a.trigger_images ? "yes" : "no");
  if (a.batch) settings.emplace_back("batch", concat(*a.batch));
  return settings;
}

/// Of the same attack several times: the settings that differ. Of a chain's last attack those that
/// were chosen, too, as of the links before it.
SettingTexts variant(const AttackRecord& attack, const std::vector<const AttackRecord*>& others) {
  SettingTexts out;
  if (!attack.chain.empty()) out = chosen(attack.name, attack.settings);
  for (const auto& setting : told(attack)) {
    const bool differs = std::ranges::any_of(others, [&](const AttackRecord* other) {
      const SettingTexts theirs = told(*other);
      return std::ranges::any_of(theirs, [&](const auto& s) {
        return s.first == setting.first && s.second != setting.second;
      });
    });
    if (differs && std::ranges::find(out, setting) == out.end()) out.push_back(setting);
  }
  return out;
}

}  // namespace

void sort_attacks(std::vector<AttackRecord>& attacks) {
  const auto place = [](const AttackRecord& attack) {
    const auto known = verify::attacks();
    const auto it = std::ranges::find(known, attack.name, &verify::Attack::name);
    return std::pair(attack.chain.size(), it - known.begin());
  };
  std::ranges::stable_sort(attacks, {}, place);
}

void name_attacks(std::vector<AttackRecord>& attacks) {
  for (AttackRecord& attack : attacks) {
    std::vector<const AttackRecord*> others;
    for (const AttackRecord& other : attacks)
      if (&other != &attack && other.name == attack.name && other.chain == attack.chain)
        others.push_back(&other);
    attack.title.clear();
    for (const AttackLink& before : attack.chain)
      attack.title += before.name + in_brackets(chosen(before.name, before.settings)) + ", then ";
    attack.title += attack.name + in_brackets(variant(attack, others));
  }
}

void name_runs(std::vector<RunRecord>& runs) {
  const auto folder = [](const RunRecord& run) {
    const std::filesystem::path path = std::filesystem::path(run.folders[0]).lexically_normal();
    return (path.has_filename() ? path : path.parent_path()).filename().string();
  };
  const auto differ = [&] {
    std::set<std::string> labels;
    return std::ranges::all_of(runs, [&](const RunRecord& run) {
      return !run.label.empty() && labels.insert(run.label).second;
    });
  };
  const auto name = [&](auto label) {
    for (RunRecord& run : runs) run.label = label(run);
    return differ();
  };
  if (name([](const RunRecord& r) { return r.scheme; })) return;
  if (name([](const RunRecord& r) {
        return r.architecture.empty() || r.scheme.empty() ? r.scheme
                                                          : r.architecture + " " + r.scheme;
      }))
    return;
  if (name(folder)) return;
  if (name([](const RunRecord& r) { return r.folders[0]; })) return;
  name([](const RunRecord& r) { return r.folders[0] + " " + r.sha256.substr(0, 8); });
}

}  // namespace passnorm::cli
