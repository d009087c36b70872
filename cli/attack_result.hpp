// What an attack found, as JSON and as text.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/attack_steps.hpp"
#include "engine/io/json.hpp"

namespace passnorm::cli {

/// What the document of an attack says beside its points.
struct AttackCall {
  std::span<const AttackStep> steps;  ///< the attack, behind those that it goes on from
  const Model& model;
  /// Of the released file and of the owner's passport, in hexadecimal.
  std::string model_sha256, passport_sha256;
  /// As they were given; other_data and triggers empty where there are none.
  std::string data, other_data, triggers;
  std::optional<Hash256> triggers_sha256;  ///< triggers_hash()
  int64_t limit_train = 0, limit_test = 0, batch = 0;
  /// How many images or clouds each accuracy was measured on; 0: there were none.
  int64_t test_images = 0, other_test_images = 0, trigger_images = 0;
  const char* noun = "images";  ///< Dataset::noun of them
  uint64_t seed = 1;
};

/// The document of format passnorm.attack/1: the same bytes for the same seed.
Json attack_json(const AttackCall& call, const verify::AttackResult& result);
/// A table, one line a point, and what else was measured.
std::string attack_text(const AttackCall& call, const verify::AttackResult& result);

/// The registry: names, sources, settings with their defaults.
Json attacks_json();
std::string attacks_text();

}  // namespace passnorm::cli
