#include "train/data/trigger_manifest.hpp"

#include <algorithm>
#include <set>
#include <span>

#include "engine/io/json.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"
#include "train/data/npy.hpp"
#include "train/data/trigger_pictures.hpp"

namespace passnorm::train {
namespace {

constexpr std::string_view kFormat = "passnorm.triggers/1";

/// Error(kInput) unless `json` is an object with these keys, of which the last `optional` may be
/// missing, and no other.
void require_keys(const std::string& where, const Json& json,
                  std::span<const std::string_view> expected, size_t optional = 0) {
  if (!json.is_object())
    fail(Fault::kInput, where, ": expected an object, found ", json.type_name());
  for (const std::string_view key : expected.first(expected.size() - optional))
    if (!json.contains(key)) fail(Fault::kInput, where, ": the key ", quote(key), " is missing");
  for (const auto& [key, value] : json.items()) {
    if (std::ranges::find(expected, key) != expected.end()) continue;
    const std::string_view near = nearest(key, expected);
    fail(Fault::kInput, where, ": unknown key ", quote(key),
         near.empty() ? "" : "; did you mean " + std::string(near) + "?");
  }
}

const std::string& text_at(const std::string& where, const Json& json, const char* key) {
  const Json& value = json.at(key);
  if (!value.is_string())
    fail(Fault::kInput, where, ": \"", key, "\" must be a string, not ", value.type_name());
  return value.get_ref<const std::string&>();
}

Hash256 hash_at(const std::string& where, const Json& json, const char* key) {
  const auto bytes = from_hex(concat(where, ": \"", key, "\""), text_at(where, json, key), 32);
  Hash256 hash;
  std::ranges::copy(bytes, hash.begin());
  return hash;
}

int64_t integer_at(const std::string& where, const Json& json, const char* key, int64_t least,
                   int64_t most) {
  const Json& value = json.at(key);
  const bool whole = value.is_number_unsigned();
  if (!whole || value.get<uint64_t>() < static_cast<uint64_t>(least) ||
      value.get<uint64_t>() > static_cast<uint64_t>(most))
    fail(Fault::kInput, where, ": \"", key, "\" must be a whole number from ", least, " to ", most);
  return value.get<int64_t>();
}

/// Why this is no path to a file in the folder of its list, or an empty text.
std::string_view fault_of_path(std::string_view path) {
  if (std::ranges::any_of(path, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    return "it has control characters";
  if (path.starts_with('/')) return "it is absolute";
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty()) return "it has an empty part";
    if (part == "." || part == "..") return "it has the part \".\" or \"..\"";
    begin = end + 1;
  }
  return {};
}

TriggerBinding binding_of(const std::string& where, const Json& json) {
  static constexpr std::string_view kKeys[] = {"classes", "generated_side", "commitment",
                                               "generated_points"};
  require_keys(where, json, kKeys, 1);
  TriggerBinding bound{
      .classes = integer_at(where, json, "classes", 2, kMaxTriggerClasses),
      .generated_side = integer_at(where, json, "generated_side", 0, kMaxTriggerSide),
      .commitment = hash_at(where, json, "commitment")};
  if (bound.generated_side != 0 && bound.generated_side < kMinTriggerSide)
    fail(Fault::kInput, where, ": \"generated_side\" must be 0 or at least ", kMinTriggerSide);
  if (json.contains("generated_points")) {
    bound.generated_points = integer_at(where, json, "generated_points", 1, kMaxPoints);
    if (bound.generated_side != 0)
      fail(Fault::kInput, where,
           ": \"generated_side\" must be 0 beside \"generated_points\": the set is of pictures or "
           "of clouds");
  }
  return bound;
}

}  // namespace

TriggerManifest parse_trigger_manifest(std::string_view name, std::string_view text,
                                       int64_t classes) {
  const Json json = parse_json(name, text);
  const std::string where(name);
  static constexpr std::string_view kKeys[] = {"format", "images", "bound"};
  require_keys(where, json, kKeys, 1);
  if (const std::string& format = text_at(where, json, "format"); format != kFormat)
    fail(Fault::kInput, where, ": is a ", quote(format), " file; a ", quote(kFormat),
         " file was expected");
  TriggerManifest manifest;
  if (json.contains("bound")) manifest.bound = binding_of(where + ": \"bound\"", json["bound"]);
  if (classes == 0) {
    if (!manifest.bound)
      fail(Fault::kUsage, where,
           ": its labels are free, and say nothing of the number of classes: "
           "--classes is needed");
    classes = manifest.bound->classes;
  }
  const Json& images = json["images"];
  if (!images.is_array() || images.empty() || images.size() > kMaxTriggers)
    fail(Fault::kInput, where, ": \"images\" must be a list of 1 to ", kMaxTriggers, " files");
  std::set<std::string_view> files;
  for (const Json& image : images) {
    const std::string here = concat(where, ": image ", manifest.images.size());
    static constexpr std::string_view kImageKeys[] = {"file", "label", "sha256"};
    require_keys(here, image, kImageKeys);
    const std::string& file = text_at(here, image, "file");
    if (const std::string_view fault = fault_of_path(file); !fault.empty())
      fail(Fault::kInput, here, ": \"file\" is ", quote(file), ": ", fault,
           "; expected a path below the folder of the list");
    if (!files.insert(file).second)
      fail(Fault::kInput, here, ": ", quote(file), " stands twice in the list");
    const int64_t label = integer_at(here, image, "label", 0, classes - 1);
    manifest.images.push_back({file, static_cast<int32_t>(label), hash_at(here, image, "sha256")});
  }
  return manifest;
}

std::string manifest_text(const TriggerManifest& manifest) {
  Json json = {{"format", kFormat}};
  if (const auto& b = manifest.bound) {
    json["bound"] = {{"classes", b->classes},
                     {"generated_side", b->generated_side},
                     {"commitment", to_hex(b->commitment)}};
    if (b->generated_points > 0) json["bound"]["generated_points"] = b->generated_points;
  }
  Json images = Json::array();
  for (const Trigger& t : manifest.images)
    images.push_back({{"file", t.file}, {"label", t.label}, {"sha256", to_hex(t.sha256)}});
  json["images"] = std::move(images);
  return dump_json("manifest.json", json, 1) + '\n';
}

}  // namespace passnorm::train
