#include "train/data/trigger_set.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <set>
#include <utility>

#include "engine/io/file.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"
#include "train/data/cross_domain.hpp"
#include "train/data/image_file.hpp"
#include "train/data/npy.hpp"

namespace passnorm::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kLabels = "labels-cifar.txt";
constexpr const char* kPictures = "pics";
constexpr const char* kClouds = "clouds";
constexpr uint64_t kMaxListBytes = uint64_t{16} << 20;

/// Where the files of a set without a list lie.
const char* place_of_files(const fs::path& folder) {
  std::error_code ignored;
  const bool clouds =
      !fs::exists(folder / kPictures, ignored) && fs::exists(folder / kClouds, ignored);
  return clouds ? kClouds : kPictures;
}

/// A file of the list, found and read.
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
    fail(Fault::kInput, name, ": is a link to another file of the trigger set");
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
TriggerManifest plain_list(const std::string& folder, int64_t classes) {
  const std::string name = (fs::path(folder) / kLabels).string();
  if (classes == 0)
    fail(Fault::kUsage, name, ": says nothing of the number of classes: --classes is needed");
  const std::vector<int32_t> labels =
      parse_labels(name, text_of(read_file(name, kMaxListBytes)), classes);
  const std::vector<std::string> files = list_pictures(folder);
  if (files.size() != labels.size() || files.empty())
    fail(Fault::kInput, name, ": ", labels.size(), " labels for the ", files.size(), " files in ",
         place_of_files(folder), "/; expected one each, and at least one");
  TriggerManifest list;
  for (size_t i = 0; i < files.size(); ++i) list.images.push_back({files[i], labels[i], {}});
  return list;
}

}  // namespace

std::vector<std::string> list_pictures(const std::string& folder) {
  const std::string place = place_of_files(folder);
  const fs::path pictures = fs::path(folder) / place;
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(pictures, error), end; !error && it != end; it.increment(error))
    if (std::string name = it->path().filename(); !name.starts_with('.'))
      names.push_back(std::move(name));
  if (error) fail(Fault::kInput, pictures.string(), ": cannot list: ", error.message());
  std::ranges::sort(names, natural_less);
  for (std::string& name : names) name = place + '/' + name;
  return names;
}

TriggerManifest read_triggers(const std::string& folder, int64_t classes,
                              const VisitTrigger& visit) {
  const std::string manifest = (fs::path(folder) / kManifest).string();
  std::error_code ignored;
  const bool hashed = fs::exists(manifest, ignored);
  if (!hashed && !fs::exists(fs::path(folder) / kLabels, ignored))
    fail(Fault::kInput, folder, ": no trigger set: expected ", kManifest, ", or ", kLabels, " and ",
         kPictures, "/");
  TriggerManifest list =
      hashed
          ? parse_trigger_manifest(manifest, text_of(read_file(manifest, kMaxListBytes)), classes)
          : plain_list(folder, classes);
  std::set<fs::path> seen;
  for (Trigger& t : list.images) {
    const std::vector<std::byte> bytes = read_picture(folder, t.file, seen);
    const std::string name = (fs::path(folder) / printable(t.file, 200)).string();
    const Hash256 hash = sha256(bytes);
    if (hashed && hash != t.sha256)
      fail(Fault::kInput, name, ": its sha256 is ", to_hex(hash), ", ", kManifest, " says ",
           to_hex(t.sha256));
    t.sha256 = hash;
    if (visit) visit(name, t, bytes);
  }
  return list;
}

void hash_pictures(const std::string& folder, TriggerManifest& manifest) {
  std::set<fs::path> seen;
  for (Trigger& t : manifest.images) t.sha256 = sha256(read_picture(folder, t.file, seen));
}

void write_manifest(const std::string& folder, const TriggerManifest& manifest) {
  write_file_atomic((fs::path(folder) / kManifest).string(), bytes_of(manifest_text(manifest)));
}

TriggerManifest write_trigger_manifest(const std::string& folder, int64_t classes) {
  TriggerManifest list = plain_list(folder, classes);
  hash_pictures(folder, list);
  write_manifest(folder, list);
  return list;
}

Dataset trigger_set(const std::string& folder, const Dataset& like) {
  PASSNORM_CHECK(like.classes > 0, "a set without classes");
  if (const auto spec = parse_cross_domain(folder)) return load_cross_domain(*spec, like);
  if (like.channels != 3)
    fail(Fault::kUsage, "trigger pictures have 3 channels, the images of this data set ",
         like.channels);
  Dataset set{.h = like.h,
              .w = like.w,
              .classes = like.classes,
              .images = {},
              .labels = {},
              .class_names = like.class_names,
              .mean = like.mean,
              .stddev = like.stddev};
  read_triggers(
      folder, like.classes,
      [&](const std::string& name, const Trigger& trigger, std::span<const std::byte> bytes) {
        if (like.is_cloud()) {
          const std::vector<float> cloud = decode_npy_cloud(name, bytes, like.w);
          const auto points = std::ssize(cloud) / 3;
          if (set.w == 0) set.w = points;
          if (points != set.w)
            fail(Fault::kInput, name, ": has ", points, " points, a trigger before it ", set.w,
                 "; give --data, whose clouds say how many the network takes");
          std::ranges::copy(cloud, std::back_inserter(set.points));
        } else {
          append_planes(center_crop(decode_image(name, bytes), {like.h, like.w}), set.images);
        }
        set.labels.push_back(trigger.label);
      });
  set.n = std::ssize(set.labels);
  return set;
}

}  // namespace passnorm::train
