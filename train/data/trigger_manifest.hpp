// manifest.json: the list of a trigger set's files, pictures or .npy clouds.
//   {"format": "passnorm.triggers/1",
//    "bound": {"classes": 10, "generated_side": 32, "commitment": "<64 digits>"},      optional
//    "images": [{"file": "pics/1.jpg", "label": 6, "sha256": "<64 digits>"}, ..]}
// Files lie in the folder of the list or below, hashes are those of the files' bytes. "bound" says
// that the labels follow from the files and a secret: trigger_binding.hpp tells how. Of clouds that
// were drawn it has "generated_side": 0 and "generated_points".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/crypto.hpp"

namespace passnorm::train {

inline constexpr size_t kMaxTriggers = 100'000;
inline constexpr int64_t kMaxTriggerClasses = 1 << 20;

struct Trigger {
  std::string file;  ///< relative to the folder of the set
  int32_t label = 0;
  Hash256 sha256{};  ///< of the file's bytes
  bool operator==(const Trigger&) const = default;
};

/// What whoever made the set says of its labels.
struct TriggerBinding {
  int64_t classes = 0;           ///< labels are uniform in [0, classes)
  int64_t generated_side = 0;    ///< of pictures that follow from the secret too; 0: none do
  int64_t generated_points = 0;  ///< of clouds that do; one of the two is 0
  Hash256 commitment{};          ///< to the secret
  bool operator==(const TriggerBinding&) const = default;
};

struct TriggerManifest {
  std::optional<TriggerBinding> bound;
  std::vector<Trigger> images;
  bool operator==(const TriggerManifest&) const = default;
};

/// The manifest with this text. classes: of the network it is for; 0: those of "bound".
/// Error(kInput), one line that starts with `name`: no JSON, a missing or unknown key, a wrong
/// type, no image, a label outside [0, classes), no hash, a file that stands twice or a path that
/// is empty, absolute or has "." or "..". Error(kUsage) for classes of 0 and no "bound".
TriggerManifest parse_trigger_manifest(std::string_view name, std::string_view text,
                                       int64_t classes);

/// The text of a manifest.
std::string manifest_text(const TriggerManifest& manifest);

}  // namespace passnorm::train
