// What an attack found, as JSON and as text.
#pragma once

#include <string>
#include <vector>

#include "engine/io/json.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::cli {

/// What the document of an attack says beside its points.
struct AttackCall {
  const verify::Attack& attack;
  const verify::AttackSettings& settings;
  std::vector<std::string> chain;  ///< attacks before it
  const Model& model;
  std::string model_sha256;  ///< of the released file, in hexadecimal
  std::string data;
  int64_t limit_train = 0, limit_test = 0;
  /// How many images or clouds each accuracy was measured on; 0: there were none.
  int64_t test_images = 0, other_test_images = 0, trigger_images = 0;
  const char* noun = "images";  ///< Dataset::noun of them
  uint64_t seed = 1;

  std::string name() const;  ///< "prune", in a chain "prune+quantise"
};

/// The document of format passnorm.attack/1: the same bytes for the same seed.
Json attack_json(const AttackCall& call, const verify::AttackResult& result);
/// A table, one line a point, and what else was measured.
std::string attack_text(const AttackCall& call, const verify::AttackResult& result);

/// The registry: names, sources, settings with their defaults.
Json attacks_json();
std::string attacks_text();

}  // namespace passnorm::cli
