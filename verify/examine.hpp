// Examining a claim of ownership: does this passport belong to this network?
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "train/evaluate.hpp"

namespace passnorm::verify {

enum class Verdict {
  kSupported,     ///< the bits match beyond chance and follow from the key and the signature text
  kInconclusive,  ///< the bits match, but whoever made the passport could choose them
  kNotSupported,
};
std::string_view name_of(Verdict verdict);  ///< supported | inconclusive | not supported

/// A claim is beyond chance when log2 p + log2 tests is at most this. What the threshold leaves is
/// the work of trying about 2^64 keys or texts. A claim has no date: of two that are supported,
/// only a commitment published before can tell the first.
inline constexpr double kLog2Threshold = -64;

struct SiteReport {
  std::string name;
  int64_t matched = 0;
  int64_t total = 0;
};

/// Random passports, keys and bits drawn together, on the same network: what chance looks like
/// here.
struct NullReport {
  uint64_t seed = 0;             ///< that the passports follow from
  std::vector<int64_t> matched;  ///< per passport
  std::vector<double> accuracy;  ///< of its passport branch, on `images` images; empty without data
  int64_t images = 0;
};

struct Claim {
  Verdict verdict = Verdict::kNotSupported;
  bool bits_bound = false;
  int64_t matched = 0;
  int64_t total = 0;
  double log2_p = 0;           ///< of this claim alone
  int64_t tests = 1;           ///< claims tried
  int64_t possible_sites = 0;  ///< S layers that can carry a passport
  double log2_tests = 0;  ///< that it is corrected for: the claims tried, times the 2^S choices of
                          ///< sites
  /// So many bits can reach the threshold, if all of them match: false for passports of too few
  /// channels, whose claims are never supported.
  bool decidable = false;
  Signature signature;  ///< what the bits stand for
  std::vector<SiteReport> sites;
  std::optional<train::Evaluation> evaluation;  ///< with data only; information, never evidence
  std::optional<train::Evaluation>
      owner_on_null_images;  ///< the same on the images that the null saw
  NullReport null;
};

struct ExamineOptions {
  const train::Dataset* data = nullptr;
  int64_t null_passports = 100;
  int64_t null_images = 1000;  ///< at most this many images for each random passport
  int64_t tests = 1;  ///< claims that were tried before this one was put forward, and this one
  uint64_t seed = 1;  ///< of the null
  int64_t batch = 256;
};

/// log2 of what a claim is corrected for: the claims tried, times the 2^S choices of sites.
double log2_of_tests(int64_t tests, int64_t possible_sites);
/// Claim::decidable.
bool is_decidable(int64_t bits, double log2_tests);

/// What raw scales and shifts, per site [2, C] as Model::read gives them, say of a claim: without
/// data and null. For scales that do not come from the network's weights (attacks).
Claim claim_on(const Model& model, const Passport& passport, std::span<const float> raw,
               int64_t tests = 1);

/// Signs of the raw scales against the bits at every site; no forward pass is needed for them.
Claim examine(Model& model, const Passport& passport, const ExamineOptions& options = {});

}  // namespace passnorm::verify
