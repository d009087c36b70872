// Trigger sets (DeepIPR V3): pictures far from the task with labels that only the owner's networks
// give. A folder with either
//   manifest.json     {"format": "passnorm.triggers/1",
//                      "images": [{"file": "pics/1.jpg", "label": 6, "sha256": "<64 digits>"}, ..]}
//                     files lie in the folder or below, hashes are those of the files' bytes
//   labels-cifar.txt  one label a line (6 or 6.0e+00), and pics/ with the pictures, which take the
//                     labels in the natural order of their names (1.jpg, 2.jpg, 10.jpg): the set of
//                     Adi et al. 2018, https://github.com/adiyoss/WatermarkNN
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/crypto.hpp"
#include "train/data/dataset.hpp"

namespace passnorm::train {

struct Trigger {
  std::string file;  ///< relative to the folder of the set
  int32_t label = 0;
  Hash256 sha256{};  ///< of the file's bytes
  bool operator==(const Trigger&) const = default;
};

/// The entries of a manifest.json with this text. Error(kInput), one line that starts with `name`:
/// no JSON, a missing or unknown key, a wrong type, no image, a label outside [0, classes), no
/// hash, a file that stands twice or a path that is empty, absolute or has "." or "..".
std::vector<Trigger> parse_trigger_manifest(std::string_view name, std::string_view text,
                                            int64_t classes);

/// The text of a manifest.json with these entries.
std::string trigger_manifest(std::span<const Trigger> triggers);

/// Writes manifest.json into a folder with labels-cifar.txt and pics/.
void write_trigger_manifest(const std::string& folder, int64_t classes);

/// The set in `folder` for networks trained on `like`: its image size (center_crop, no resizing: as
/// the references), classes and normalisation. Error(kInput) on what the parser refuses, a picture
/// that is missing, lies outside the folder (through a symbolic link), has another hash or cannot
/// be decoded; Error(kUsage) when `like` has no three channels.
ImageSet trigger_set(const std::string& folder, const ImageSet& like);

}  // namespace passnorm::train
