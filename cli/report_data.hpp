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

#include "cli/interval.hpp"
#include "cli/json_field.hpp"

namespace passnorm::cli {

/// Names and values, in the order of the document.
using SettingTexts = std::vector<std::pair<std::string, std::string>>;
/// The value of a setting; empty without it.
std::string_view setting_of(const SettingTexts& settings, std::string_view name);
/// The same as a number; none where it is no whole one.
std::optional<int64_t> whole_number(const SettingTexts& settings, std::string_view name);

/// Shares in [0, 1]; none where the network has no such branch or nothing was measured.
struct BranchAccuracy {
  std::optional<Measured> released;  ///< the public branch
  std::optional<Measured> passport;
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

/// A claim as claim_json() writes it; of several claims (report_pool.hpp) the counts of all bits
/// and the mean of log2 p.
struct ClaimRecord {
  std::string verdict;  ///< as name_of(verify::Verdict) has it; "supported 2, inconclusive 1"
  bool bits_bound = false;
  int64_t matched = 0, total = 0;
  bool fixed_count = false;            ///< so many match because the attack turned so many
  double log2_p = 0;                   ///< of the claim alone
  double log2_tests = 0;               ///< that it is corrected for
  std::optional<Interval> log2_range;  ///< of several claims: the least and the most, corrected
  std::vector<SiteBits> sites;
  BranchAccuracy accuracy;
  std::optional<int64_t> images;  ///< that it is of; not known of older documents
  std::optional<NullAccuracy> null;

  /// Share of the bits, with the interval of Clopper and Pearson unless the count is fixed.
  Measured share() const;
  /// Of a probability: at most 0; with log2_range.
  Measured corrected() const { return {std::min(0.0, log2_p + log2_tests), log2_range}; }
};

struct PointRecord {
  double x = 0;
  ClaimRecord owner;
  std::optional<ClaimRecord> forger;
  std::optional<BranchAccuracy> triggers;
  std::vector<std::pair<std::string, Measured>> metrics;

  std::optional<Measured> metric(std::string_view name) const;
  /// What the stolen network is worth: the public branch's accuracy; of a network without one that
  /// of the thief's own affine, else of the passport branch.
  std::optional<Measured> task() const;
};

struct AttackLink {
  std::string name;
  SettingTexts settings;
  bool operator==(const AttackLink&) const = default;
};

/// One attack-*.json, format passnorm.attack/1, which `passnorm attack` writes. What older
/// documents do not say is empty.
struct AttackRecord {
  std::string file;
  std::string name, description, source, axis;
  std::string data, other_data, triggers;  ///< as they were given to the attack
  std::vector<AttackLink> chain;           ///< the attacks before it
  SettingTexts settings;
  std::vector<int64_t> seeds;  ///< of one document one
  int64_t limit_train = 0, limit_test = 0;
  std::optional<int64_t> batch;
  std::optional<int64_t> test_images, trigger_images;  ///< where the document says how many
  std::string architecture, scheme, norm, sha256;
  int64_t classes = 0;
  std::vector<std::pair<std::string, int64_t>> sites;  ///< name, bits
  std::vector<PointRecord> points;
  Json document;          ///< as it was read
  int64_t documents = 1;  ///< that are pooled as this one

  /// "prune", in a chain "fine-tune, then prune (rates = 0.5)"; with what tells it from the pool's
  /// others.
  std::string title;
};

struct EpochRecord {
  int64_t epoch = 0;  ///< from 1
  std::optional<Measured> loss_public, loss_passport, sign_loss;
  std::optional<Measured> bits;                         ///< share of all that match
  std::vector<std::pair<std::string, Measured>> sites;  ///< of each site's
  BranchAccuracy train;  ///< of its batches, as they were augmented, while weights changed
  BranchAccuracy test, triggers;

  std::optional<Measured> site(std::string_view name) const;
};

/// A network: what its run's folder and attacks on it say. Also several that differ in their seeds
/// alone, as one (report_pool.hpp).
struct RunRecord {
  std::string label;            ///< short, and its own among the runs of a report
  std::vector<size_t> members;  ///< of a pool: its networks in ReportData::runs
  std::vector<std::string> folders;
  std::string architecture, scheme, norm, data;  ///< empty where nothing says so
  int64_t classes = 0;
  std::string sha256;  ///< of model.safetensors; empty without
  std::vector<std::pair<std::string, int64_t>> sites;
  SettingTexts settings;  ///< of training, from config.toml
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
  std::vector<RunRecord> pools;      ///< what is shown: networks that differ in their seeds as one
  std::vector<std::string> missing;  ///< a sentence each
};

/// Parts of it; Error(kInput), one line that names the file and the place.
ClaimRecord read_claim(const JsonField& claim);
AttackRecord parse_attack(const std::string& file, std::string_view text);
EpochRecord read_epoch(const JsonField& line);
/// metrics.jsonl into epochs and metrics.
void parse_metrics(const std::string& file, std::string_view text, RunRecord& run);
/// A path for JSON and the page; what is not UTF-8 is escaped.
std::string text_of_path(const std::string& path);

/// Reads folders: of runs (config.toml, metrics.jsonl, model.safetensors, verify.json), of attacks
/// (attack-*.json, there, in attacks/ or in a folder of that), or of both. What belongs to one
/// network, told by the SHA-256 of its released file, becomes one run. A part that is missing is
/// named in `missing`. with_seeds: show the seed of a run whose passport follows from it, too.
/// Error(kInput), one line that names the file and the place: nothing of all that in a folder, or a
/// file that is not what it should be; Error(kUsage): more than kMostPools kinds of networks.
ReportData read_report(std::span<const std::string> folders, bool with_seeds);

}  // namespace passnorm::cli
