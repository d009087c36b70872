#include "cli/report_names.hpp"

#include <algorithm>
#include <filesystem>
#include <set>

#include "kernels/runtime/check.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::cli {
namespace {

/// Of the same attack several times: the settings that differ.
std::string variant(const AttackRecord& attack, const std::vector<const AttackRecord*>& others) {
  const auto told = [](const AttackRecord& a) {
    auto settings = a.settings;
    settings.emplace_back("training images", concat(a.limit_train));
    settings.emplace_back("test images", concat(a.limit_test));
    settings.emplace_back("data", a.data);
    return settings;
  };
  std::string text;
  for (const auto& setting : told(attack))
    for (const AttackRecord* other : others) {
      const auto theirs = told(*other);
      if (std::ranges::find(theirs, setting) != theirs.end()) continue;
      text += (text.empty() ? " (" : ", ") + setting.first + " = " + setting.second;
      break;
    }
  return text.empty() ? text : text + ")";
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
    for (const std::string& before : attack.chain) attack.title += before + ", then ";
    attack.title += attack.name + variant(attack, others);
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
