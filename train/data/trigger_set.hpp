// Trigger sets (DeepIPR V3): pictures or clouds far from the task with labels that only the owner's
// networks give. A folder with either
//   manifest.json     the list of its files: trigger_manifest.hpp
//   labels-cifar.txt  one label a line (6 or 6.0e+00), and pics/ with the pictures, or clouds/ with
//                     .npy files, which take the labels in the natural order of their names (1.jpg,
//                     2.jpg, 10.jpg): the set of Adi et al. 2018,
//                     https://github.com/adiyoss/WatermarkNN
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "train/data/dataset.hpp"
#include "train/data/trigger_manifest.hpp"

namespace passnorm::train {

/// Gets a trigger and the bytes of its file; `name` stands in messages.
using VisitTrigger = std::function<void(const std::string& name, const Trigger& trigger,
                                        std::span<const std::byte> bytes)>;

/// The list of the set in `folder`, for networks of `classes` classes (0: those its labels are
/// bound to), every file read, compared with the list and shown to `visit`. Of the plain form the
/// hashes are those of the files. Error(kInput) on what the parser refuses, a file that is missing,
/// lies outside the folder (through a symbolic link) or has another hash.
TriggerManifest read_triggers(const std::string& folder, int64_t classes,
                              const VisitTrigger& visit = {});

/// The set in `folder` for networks trained on `like`: its image size (center_crop, no resizing: as
/// the references), classes and normalisation. Where those are clouds, so are the triggers: .npy
/// files (npy.hpp) in place of pictures, the first like.w points of each, or, with like.w = 0, all
/// of them (Error(kInput) unless they have the same number). In place of a folder a second data set
/// may be named (cross_domain.hpp). Errors as read_triggers, and Error(kInput) for a file that
/// cannot be decoded; Error(kUsage) when `like` has no three channels.
Dataset trigger_set(const std::string& folder, const Dataset& like);

/// The files of pics/, or of clouds/ where there is no pics/, in natural order, relative to the
/// folder. Error(kInput) when it cannot be listed.
std::vector<std::string> list_pictures(const std::string& folder);

/// Sets the hashes of a list to those of its files. Errors as read_triggers.
void hash_pictures(const std::string& folder, TriggerManifest& manifest);

/// Writes manifest.json.
void write_manifest(const std::string& folder, const TriggerManifest& manifest);
/// The same into a folder with labels-cifar.txt and its files, with these labels.
TriggerManifest write_trigger_manifest(const std::string& folder, int64_t classes);

}  // namespace passnorm::train
