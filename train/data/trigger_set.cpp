#include "train/data/trigger_set.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>
#include <utility>

#include "engine/io/file.hpp"
#include "engine/io/json.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"
#include "train/data/image_file.hpp"

namespace passnorm::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFormat = "passnorm.triggers/1";
constexpr const char* kManifest = "manifest.json";
constexpr const char* kLabels = "labels-cifar.txt";
constexpr const char* kPictures = "pics";
constexpr uint64_t kMaxListBytes = uint64_t{16} << 20;
constexpr uint64_t kMaxPictureBytes = uint64_t{64} << 20;
constexpr size_t kMaxTriggers = 100'000;

/// Error(kInput) unless `json` is an object with exactly these keys.
void require_keys(const std::string& where, const Json& json,
                  std::span<const std::string_view> expected) {
  if (!json.is_object())
    fail(Fault::kInput, where, ": expected an object, found ", json.type_name());
  for (const std::string_view key : expected)
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

int32_t checked_label(const std::string& where, const Json& label, int64_t classes) {
  if (!label.is_number_unsigned() || label.get<uint64_t>() >= static_cast<uint64_t>(classes))
    fail(Fault::kInput, where, ": \"label\" must be a whole number from 0 to ", classes - 1);
  return label.get<int32_t>();
}

/// A picture of the list, found and read.
std::vector<std::byte> read_picture(const fs::path& folder, const std::string& file,
                                    std::set<fs::path>& seen) {
  const std::string name = (folder / printable(file, 200)).string();
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  const fs::path path = error ? fs::path() : fs::canonical(root / file, error);
  if (error) fail(Fault::kInput, name, ": cannot read: ", error.message());
  if (std::ranges::mismatch(root, path).in1 != root.end())
    fail(Fault::kInput, name, ": is a link to a file outside the folder of the trigger set");
  if (!fs::is_regular_file(path, error)) fail(Fault::kInput, name, ": is not a regular file");
  if (!seen.insert(path).second)
    fail(Fault::kInput, name, ": is a link to another picture of the trigger set");
  return read_file(path.string(), kMaxPictureBytes);
}

/// Digits in names count as numbers: 2.jpg before 10.jpg.
bool natural_less(std::string_view a, std::string_view b) {
  const auto number = [](std::string_view& text) {
    const size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
    std::string_view digits = text.substr(0, end);
    text.remove_prefix(end);
    digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
    return std::pair(digits.size(), digits);
  };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::string_view x = a, y = b;
  while (!x.empty() && !y.empty()) {
    if (is_digit(x[0]) && is_digit(y[0])) {
      const auto m = number(x), n = number(y);
      if (m != n) return m < n;
    } else {
      if (x[0] != y[0]) return x[0] < y[0];
      x.remove_prefix(1);
      y.remove_prefix(1);
    }
  }
  return std::pair(x.size(), a) < std::pair(y.size(), b);
}

/// The labels of labels-cifar.txt, which numpy wrote: 6.000000000000000000e+00.
std::vector<int32_t> parse_labels(const std::string& name, std::string_view text, int64_t classes) {
  std::vector<int32_t> labels;
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    double label = -1;
    const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), label);
    if (error != std::errc() || stop != line.data() + line.size() || !(label >= 0) ||
        label >= static_cast<double>(classes) ||
        label != static_cast<double>(static_cast<int32_t>(label)))
      fail(Fault::kInput, name, ":", labels.size() + 1, ": label ", quote(line),
           ", expected a whole number from 0 to ", classes - 1);
    labels.push_back(static_cast<int32_t>(label));
    begin = end + 1;
  }
  return labels;
}

/// The entries of the plain form; their hashes are not known.
std::vector<Trigger> plain_list(const fs::path& folder, int64_t classes) {
  const std::string name = (folder / kLabels).string();
  const std::vector<int32_t> labels =
      parse_labels(name, text_of(read_file(name, kMaxListBytes)), classes);
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator it(folder / kPictures, error), end; !error && it != end;
       it.increment(error))
    if (std::string file = it->path().filename(); !file.starts_with('.'))
      files.push_back(std::move(file));
  if (error) fail(Fault::kInput, (folder / kPictures).string(), ": cannot list: ", error.message());
  if (files.size() != labels.size() || files.empty())
    fail(Fault::kInput, name, ": ", labels.size(), " labels for the ", files.size(),
         " pictures in ", kPictures, "/; expected one each, and at least one");
  std::ranges::sort(files, natural_less);
  std::vector<Trigger> triggers;
  for (size_t i = 0; i < files.size(); ++i)
    triggers.push_back({std::string(kPictures) + '/' + files[i], labels[i], {}});
  return triggers;
}

/// [h, w, 3] to planes, behind the others.
void append_planes(const Picture& picture, std::vector<uint8_t>& images) {
  for (size_t c = 0; c < 3; ++c)
    for (size_t i = c; i < picture.rgb.size(); i += 3) images.push_back(picture.rgb[i]);
}

}  // namespace

std::vector<Trigger> parse_trigger_manifest(std::string_view name, std::string_view text,
                                            int64_t classes) {
  const Json json = parse_json(name, text);
  const std::string where(name);
  static constexpr std::string_view kKeys[] = {"format", "images"};
  require_keys(where, json, kKeys);
  if (const std::string& format = text_at(where, json, "format"); format != kFormat)
    fail(Fault::kInput, where, ": is a ", quote(format), " file; a ", quote(kFormat),
         " file was expected");
  const Json& images = json["images"];
  if (!images.is_array() || images.empty() || images.size() > kMaxTriggers)
    fail(Fault::kInput, where, ": \"images\" must be a list of 1 to ", kMaxTriggers, " pictures");
  std::vector<Trigger> triggers;
  std::set<std::string_view> files;
  for (const Json& image : images) {
    const std::string here = concat(where, ": image ", triggers.size());
    static constexpr std::string_view kImageKeys[] = {"file", "label", "sha256"};
    require_keys(here, image, kImageKeys);
    const std::string& file = text_at(here, image, "file");
    if (const std::string_view fault = fault_of_path(file); !fault.empty())
      fail(Fault::kInput, here, ": \"file\" is ", quote(file), ": ", fault,
           "; expected a path below the folder of the list");
    if (!files.insert(file).second)
      fail(Fault::kInput, here, ": ", quote(file), " stands twice in the list");
    const int32_t label = checked_label(here, image["label"], classes);
    const auto hash = from_hex(here + ": \"sha256\"", text_at(here, image, "sha256"), 32);
    triggers.push_back({file, label, {}});
    std::ranges::copy(hash, triggers.back().sha256.begin());
  }
  return triggers;
}

std::string trigger_manifest(std::span<const Trigger> triggers) {
  Json images = Json::array();
  for (const Trigger& t : triggers)
    images.push_back({{"file", t.file}, {"label", t.label}, {"sha256", to_hex(t.sha256)}});
  return dump_json(kManifest, {{"format", kFormat}, {"images", images}}, 1) + '\n';
}

void write_trigger_manifest(const std::string& folder, int64_t classes) {
  std::vector<Trigger> triggers = plain_list(folder, classes);
  std::set<fs::path> seen;
  for (Trigger& t : triggers) t.sha256 = sha256(read_picture(folder, t.file, seen));
  write_file_atomic((fs::path(folder) / kManifest).string(), bytes_of(trigger_manifest(triggers)));
}

ImageSet trigger_set(const std::string& folder, const ImageSet& like) {
  PASSNORM_CHECK(like.classes > 0, "a set without classes");
  if (like.channels != 3)
    fail(Fault::kUsage, "trigger pictures have 3 channels, the images of this data set ",
         like.channels);
  const std::string manifest = (fs::path(folder) / kManifest).string();
  std::error_code ignored;
  const bool hashed = fs::exists(manifest, ignored);
  if (!hashed && !fs::exists(fs::path(folder) / kLabels, ignored))
    fail(Fault::kInput, folder, ": no trigger set: expected ", kManifest, ", or ", kLabels, " and ",
         kPictures, "/");
  const std::vector<Trigger> triggers =
      hashed ? parse_trigger_manifest(manifest, text_of(read_file(manifest, kMaxListBytes)),
                                      like.classes)
             : plain_list(folder, like.classes);
  ImageSet set{.n = std::ssize(triggers),
               .h = like.h,
               .w = like.w,
               .classes = like.classes,
               .images = {},
               .labels = {},
               .class_names = like.class_names,
               .mean = like.mean,
               .stddev = like.stddev};
  std::set<fs::path> seen;
  for (const Trigger& t : triggers) {
    const std::string name = (fs::path(folder) / printable(t.file, 200)).string();
    const std::vector<std::byte> bytes = read_picture(folder, t.file, seen);
    if (const Hash256 hash = sha256(bytes); hashed && hash != t.sha256)
      fail(Fault::kInput, name, ": its sha256 is ", to_hex(hash), ", ", kManifest, " says ",
           to_hex(t.sha256));
    append_planes(center_crop(decode_image(name, bytes), {like.h, like.w}), set.images);
    set.labels.push_back(t.label);
  }
  return set;
}

}  // namespace passnorm::train
