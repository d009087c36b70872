// What a document is about: files by their SHA-256, which `sha256sum` prints too.
#pragma once

#include <initializer_list>
#include <optional>
#include <utility>

#include "cli/app.hpp"
#include "train/data/trigger_manifest.hpp"

namespace passnorm::cli {

/// A network, and a passport where one is given, with the hashes of the very bytes that they were
/// made from. Of a suspect the passport is models::without_replaced_layers.
struct Examined {
  models::LoadedModel loaded;
  std::optional<Passport> passport;
  /// Sites of the passport that the suspect's new last layer has no place for, of kSuspect.
  std::vector<std::string> left_out;
  Hash256 model_sha256{};
  std::optional<Hash256> passport_sha256;

  enum class As {
    kReleased,  ///< models::load_released
    kSuspect,   ///< models::load_suspect: with a passport only
  };
  static Examined open(const ModelArgument& argument, const Machine& machine, As as);
};

/// Hexadecimal, or null.
Json hash_json(const std::optional<Hash256>& hash);

/// SHA-256 of a trigger set's manifest.json as this program writes it, of a set without one of what
/// `passnorm data manifest` would write: it has the hash of every file.
Hash256 triggers_hash(const train::TriggerManifest& manifest);

/// "examined" of a claim: the network, where there is one, other files (name -> name_sha256), and
/// the program.
Json examined_json(
    const Examined* network,
    std::initializer_list<std::pair<const char*, std::optional<Hash256>>> files = {});

/// "data" of such a claim, as it was given: {spec, limit_test}, or null.
Json data_json(const std::string& spec, int64_t limit_test);

}  // namespace passnorm::cli
