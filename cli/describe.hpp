// What a file or run directory is, told by its content.
#pragma once

#include <string>
#include <string_view>

#include "engine/io/json.hpp"

namespace passnorm::cli {

/// An object with "path" and "kind", and what there is to say of that kind:
///   model        a network of this program
///   torchvision  a network exported under torchvision's names
///   tensors      any other safetensors file
///   passport     an owner's passport: never a key, a bit or the seed
///   trigger owner  the secret of a trigger set: the name it is for
///   sealed       a secret behind a passphrase: its size and what a guess costs
///   checkpoint   of a training run: its settings, never its tensors' values
///   settings     a TOML file; the seed, from which a passport may follow, is left out
///   metrics      metrics.jsonl or metrics.csv: the last epoch
///   claim        what `passnorm verify --json` printed: the verdict
///   attack       attack-NAME.json: the last point
///   report       the JSON of a report: its networks
///   triggers     manifest.json of a trigger set: how many, and whether their labels are bound
///   run          a run directory: "files" holds the description of each, or "error"
/// Error(kInput) for anything else and for a damaged file, Error(kSecret) for a passport that
/// others can read.
Json describe(const std::string& path);

/// Of these a JSON document with this text; null for lines of metrics. Error(kInput) for other
/// JSON.
Json describe_document(const std::string& path, std::string_view text);

/// The same in words, with a table of tensors where there is one.
std::string text_of_description(const Json& description);

}  // namespace passnorm::cli
