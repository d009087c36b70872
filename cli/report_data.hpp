// What `passnorm report` reads: training runs, and what attacks on their networks gave.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/json_field.hpp"

namespace passnorm::cli {

/// Shares in [0, 1]; none where the network has no such branch or nothing was measured.
struct BranchAccuracy {
  std::optional<double> released;  ///< the public branch
  std::optional<double> passport;
};

struct SiteBits {
  std::string name;
  int64_t matched = 0;
  int64_t total = 0;
};

/// Random passports that a claim was compared with.
struct NullAccuracy {
  int64_t passports = 0, images = 0;
  double owner = 0, mean = 0, best = 0;  ///< accuracy of the passport branch
  std::vector<int64_t> histogram;        ///< passports in equal parts of [0, 1]
};

/// A claim as claim_json() writes it.
struct ClaimRecord {
  std::string verdict;  ///< as name_of(verify::Verdict) has it
  bool bits_bound = false;
  int64_t matched = 0, total = 0;
  double log2_p = 0;      ///< of the claim alone
  double log2_tests = 0;  ///< that it is corrected for
  std::vector<SiteBits> sites;
  BranchAccuracy accuracy;
  std::optional<NullAccuracy> null;

  double share() const {
    return total > 0 ? static_cast<double>(matched) / static_cast<double>(total) : 0;
  }
  /// Of a probability: at most 0.
  double corrected() const { return std::min(0.0, log2_p + log2_tests); }
};

struct PointRecord {
  double x = 0;
  ClaimRecord owner;
  std::optional<ClaimRecord> forger;
  std::optional<BranchAccuracy> triggers;
  std::vector<std::pair<std::string, double>> metrics;

  std::optional<double> metric(std::string_view name) const;
  /// What the stolen network is worth: the public branch's accuracy; of a network without one that
  /// of the thief's own affine, else of the passport branch.
  std::optional<double> task() const;
};

/// One attack-*.json, format passnorm.attack/1, which `passnorm attack` writes.
struct AttackRecord {
  std::string file;
  std::string name, description, source, axis, data;
  std::vector<std::string> chain;  ///< the attacks before it
  std::vector<std::pair<std::string, std::string>> settings;
  int64_t seed = 0, limit_train = 0, limit_test = 0;
  std::string architecture, scheme, norm, sha256;
  int64_t classes = 0;
  std::vector<std::pair<std::string, int64_t>> sites;  ///< name, bits
  std::vector<PointRecord> points;
  Json document;  ///< as it was read

  std::string title;  ///< "fine-tune, then prune"; with what tells it from the run's others
};

struct EpochRecord {
  int64_t epoch = 0;  ///< from 1
  std::optional<double> loss_public, loss_passport, sign_loss, bits;
  BranchAccuracy train, test, triggers;
  std::vector<std::pair<std::string, double>> sites;  ///< share of right signs
};

/// A network: what its run's folder and attacks on it say.
struct RunRecord {
  std::string label;  ///< short, and its own among the runs of a report
  std::vector<std::string> folders;
  std::string architecture, scheme, norm, data;  ///< empty where nothing says so
  int64_t classes = 0;
  std::string sha256;  ///< of model.safetensors; empty without
  std::vector<std::pair<std::string, int64_t>> sites;
  std::vector<std::pair<std::string, std::string>> settings;  ///< of training, from config.toml
  std::vector<EpochRecord> epochs;
  std::vector<Json> metrics;         ///< the lines of metrics.jsonl, without their times
  std::optional<ClaimRecord> claim;  ///< verify.json: what `passnorm verify --json` printed
  Json claim_document;
  std::vector<AttackRecord> attacks;

  int64_t bits() const;
  std::string network() const;  ///< "tiny, pan, batch norm"
};

struct ReportData {
  std::vector<RunRecord> runs;
  std::vector<std::string> missing;  ///< a sentence each
};

/// Parts of it; Error(kInput), one line that names the file and the place.
ClaimRecord read_claim(const JsonField& claim);
AttackRecord read_attack(const std::string& path);
EpochRecord read_epoch(const JsonField& line);
/// A path for JSON and the page; what is not UTF-8 is escaped.
std::string text_of_path(const std::string& path);

/// The most networks that one report compares: as many as colours can be told apart.
inline constexpr size_t kMostRuns = 7;

/// Reads folders: of runs (config.toml, metrics.jsonl, model.safetensors, verify.json), of attacks
/// (attack-*.json, there, in attacks/ or in a folder of that), or of both. What belongs to one
/// network, told by the SHA-256 of its released file, becomes one run. A part that is missing is
/// named in `missing`. with_seeds: show the seed of a run whose passport follows from it, too.
/// Error(kInput), one line that names the file and the place: nothing of all that in a folder, or a
/// file that is not what it should be; Error(kUsage): more than kMostRuns networks.
ReportData read_report(std::span<const std::string> folders, bool with_seeds);

}  // namespace passnorm::cli
