#include "cli/report_data.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "cli/config.hpp"
#include "cli/json_field.hpp"
#include "cli/report_pool.hpp"
#include "engine/io/crypto.hpp"
#include "engine/io/file.hpp"
#include "engine/io/safetensors.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostModelBytes = uint64_t{64} << 30;
constexpr uint64_t kMostMetricsBytes = uint64_t{1} << 28;
constexpr uint64_t kMostAttackBytes = 100'000'000;

std::string shown(const std::string& path) { return printable(path, 4096); }

bool is_there(const fs::path& path) {
  std::error_code none;
  return fs::exists(path, none);
}

/// attack-*.json of a folder, of its attacks/ and of the folders in that, in the order of their
/// names.
std::vector<std::string> attack_files(const std::string& folder) {
  std::vector<fs::path> places = {folder, fs::path(folder) / "attacks"};
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(places[1], none))
    if (entry.is_directory(none)) places.push_back(entry.path());
  std::sort(places.begin() + 2, places.end());
  std::vector<std::string> found;
  for (const fs::path& place : places) {
    const size_t before = found.size();
    for (const auto& entry : fs::directory_iterator(place, none)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("attack-") && name.ends_with(".json"))
        found.push_back(entry.path().string());
    }
    std::sort(found.begin() + static_cast<ptrdiff_t>(before), found.end());
  }
  return found;
}

// --- runs

void read_settings(const std::string& path, bool with_seeds, RunRecord& run) {
  std::vector<Assignment> assignments;
  try {
    assignments = read_config(path);
  } catch (const Error& e) {
    if (e.fault() != Fault::kUsage) throw;
    fail(Fault::kInput, e.what());
  }
  const auto value = [&](std::string_view key) {
    const auto it = std::ranges::find(assignments, key, &Assignment::key);
    return it == assignments.end() ? std::string() : it->text;
  };
  run.architecture = value("model");
  run.scheme = value("scheme");
  std::ranges::replace(run.scheme, '_', '-');
  run.norm = value("norm");
  run.data = value("data");
  // A report is made to be shown, and whoever has the seed has the passport that follows from it.
  const bool secret = !with_seeds && run.scheme != "none" && value("secret") != "random";
  for (const Assignment& a : assignments)
    run.settings.emplace_back(
        a.key, a.key == "seed" && secret ? "not shown: the passport follows from it" : a.text);
}

void read_model(const std::string& path, RunRecord& run) {
  std::vector<std::byte> bytes = read_file(path, kMostModelBytes);
  run.sha256 = to_hex(sha256(bytes));
  const SafeTensors file = SafeTensors::parse(path, std::move(bytes));
  const auto metadata = [&](const char* key) {
    const auto it = file.metadata().find(key);
    return it == file.metadata().end() ? std::string() : it->second;
  };
  if (!metadata("format").starts_with("passnorm.model/"))
    fail(Fault::kInput, shown(path), ": not a model of this program");
  run.architecture = metadata("architecture");
  run.norm = metadata("norm");
  const std::string classes = metadata("classes");
  if (classes.size() < 10 &&
      std::ranges::all_of(classes, [](char c) { return c >= '0' && c <= '9'; }))
    run.classes = std::atoll(classes.c_str());
}

/// The run in a folder, if one is there.
std::optional<RunRecord> read_run(const std::string& folder, bool with_seeds) {
  const fs::path path(folder);
  const fs::path config = path / "config.toml", metrics = path / "metrics.jsonl",
                 model = path / "model.safetensors", claim = path / "verify.json";
  if (!is_there(config) && !is_there(metrics) && !is_there(model) && !is_there(claim)) return {};
  RunRecord run{.folders = {text_of_path(folder)}};
  if (is_there(config)) read_settings(config.string(), with_seeds, run);
  if (is_there(model)) read_model(model.string(), run);
  if (is_there(metrics))
    parse_metrics(metrics.string(), text_of(read_file(metrics.string(), kMostMetricsBytes)), run);
  if (is_there(claim)) {
    run.claim_document = read_json(claim.string());
    run.claim = read_claim(JsonField(run.claim_document, claim.string()));
    for (const SiteBits& s : run.claim->sites) run.sites.emplace_back(s.name, s.total);
  }
  return run;
}

/// The run that an attack was made on; a new one where no folder has it.
RunRecord& run_of(const AttackRecord& attack, const std::string& folder, ReportData& data) {
  for (RunRecord& run : data.runs)
    if (run.sha256 == attack.sha256) return run;
  for (RunRecord& run : data.runs)  // whose model file is not there, so that this says which it was
    if (run.sha256.empty() && std::ranges::find(run.folders, folder) != run.folders.end()) {
      run.sha256 = attack.sha256;
      return run;
    }
  data.runs.push_back({.folders = {folder}, .sha256 = attack.sha256});
  return data.runs.back();
}

void join(AttackRecord attack, const std::string& folder, ReportData& data) {
  RunRecord& run = run_of(attack, folder, data);
  if (std::ranges::find(run.folders, folder) == run.folders.end()) run.folders.push_back(folder);
  run.architecture = attack.architecture;
  run.scheme = attack.scheme;
  run.norm = attack.norm;
  run.classes = attack.classes;
  if (run.data.empty()) run.data = attack.data;
  if (run.sites.empty()) run.sites = attack.sites;
  // The same result twice is one result.
  if (std::ranges::find(run.attacks, attack.document, &AttackRecord::document) == run.attacks.end())
    run.attacks.push_back(std::move(attack));
}

// --- all of it

void name_missing(ReportData& data) {
  for (const RunRecord& run : data.runs) {
    const std::string& folder = run.folders[0];
    const auto missing = [&](bool is, const char* what) {
      if (is) data.missing.push_back(folder + ": " + what);
    };
    missing(run.settings.empty(), "no config.toml: the settings of training are not known.");
    missing(run.epochs.empty(), "no metrics.jsonl: there are no training curves.");
    missing(run.sha256.empty(), "no model.safetensors: its SHA-256 is not known.");
    if (run.scheme == "none") continue;
    missing(!run.claim,
            "no verify.json (passnorm verify --json): neither the claim on the untouched network "
            "nor random passports are shown.");
    missing(run.attacks.empty(), "no attack-*.json (passnorm attack): no attacks are shown.");
  }
}

std::optional<Measured> value_of(const std::vector<std::pair<std::string, Measured>>& values,
                                 std::string_view name) {
  const auto it = std::ranges::find(values, name, [](const auto& v) { return v.first; });
  return it == values.end() ? std::nullopt : std::optional(it->second);
}

}  // namespace

std::string_view setting_of(const SettingTexts& settings, std::string_view name) {
  const auto it = std::ranges::find(settings, name, [](const auto& s) { return s.first; });
  return it == settings.end() ? std::string_view() : std::string_view(it->second);
}

std::optional<int64_t> whole_number(const SettingTexts& settings, std::string_view name) {
  const std::string_view text = setting_of(settings, name);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

std::string text_of_path(const std::string& path) {
  try {
    dump_json("path", Json(path));
    return path;
  } catch (const Error&) {
    return shown(path);
  }
}

Measured ClaimRecord::share() const {
  if (total == 0) return 0;
  const double share = static_cast<double>(matched) / static_cast<double>(total);
  return fixed_count ? share : Measured(share, clopper_pearson_interval(matched, total));
}

std::optional<Measured> PointRecord::metric(std::string_view name) const {
  return value_of(metrics, name);
}

std::optional<Measured> EpochRecord::site(std::string_view name) const {
  return value_of(sites, name);
}

std::optional<Measured> PointRecord::task() const {
  if (owner.accuracy.released) return owner.accuracy.released;
  const auto stolen = metric("stolen accuracy");
  return stolen ? stolen : owner.accuracy.passport;
}

int64_t RunRecord::bits() const {
  int64_t sum = 0;
  for (const auto& [name, bits] : sites) sum += bits;
  return sum;
}

std::string RunRecord::network() const {
  std::string text = architecture.empty() ? "network" : architecture;
  if (!scheme.empty()) text += ", " + scheme;
  if (!norm.empty()) text += ", " + norm + " norm";
  return text;
}

ReportData read_report(std::span<const std::string> folders, bool with_seeds) {
  ReportData data;
  std::set<fs::path> seen;
  for (const std::string& folder : folders) {
    std::error_code error;
    if (!fs::is_directory(folder, error))
      fail(Fault::kInput, shown(folder), ": not a folder; a run's or one of attacks was expected");
    if (!seen.insert(fs::canonical(folder, error)).second)
      fail(Fault::kUsage, shown(folder), ": given twice");
    if (auto run = read_run(folder, with_seeds))
      data.runs.push_back(std::move(*run));
    else if (attack_files(folder).empty())
      fail(Fault::kInput, shown(folder),
           ": neither a training run (config.toml, metrics.jsonl, model.safetensors) nor results "
           "of attacks (attack-*.json)");
  }
  for (const std::string& folder : folders)
    for (const std::string& file : attack_files(folder))
      join(parse_attack(file, text_of(read_file(file, kMostAttackBytes))), text_of_path(folder),
           data);
  pool_runs(data);
  name_missing(data);
  return data;
}

}  // namespace passnorm::cli
