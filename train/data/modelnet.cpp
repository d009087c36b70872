#include "train/data/modelnet.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <utility>

#include "engine/io/crypto.hpp"
#include "engine/io/file.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"
#include "kernels/runtime/dtype.hpp"
#include "train/data/folders.hpp"
#include "train/data/mesh.hpp"
#include "train/data/npy.hpp"

namespace passnorm::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNames = "shape_names.txt";
constexpr uint64_t kMaxListBytes = 1 << 20;
constexpr uint64_t kMaxCloudBytes = uint64_t{64} << 20;
constexpr uint64_t kMaxMeshBytes = uint64_t{512} << 20;
constexpr uint64_t kMaxPackedBytes = uint64_t{8} << 30;

const char* name_of(Split split) { return split == Split::kTrain ? "train" : "test"; }

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::vector<std::string> read_names(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path, kMaxListBytes);
  std::vector<std::string> names;
  std::string_view text = text_of(bytes);
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) fail(Fault::kInput, path, ":", names.size() + 1, ": a class without a name");
    names.push_back(printable(line));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (names.empty() || std::ssize(names) > kMaxClasses)
    fail(Fault::kInput, path, ": ", names.size(), " names of classes, expected 1 to ", kMaxClasses);
  return names;
}

/// A set without clouds.
Dataset empty_set(int64_t points, std::vector<std::string> class_names) {
  Dataset set;
  set.h = 1;
  set.w = points;
  set.classes = std::ssize(class_names);
  set.class_names = std::move(class_names);
  return set;
}

void append(Dataset& set, std::span<const float> cloud, int32_t label) {
  set.points.insert(set.points.end(), cloud.begin(), cloud.end());
  set.labels.push_back(label);
  set.n = std::ssize(set.labels);
}

Dataset load_packed(const fs::path& folder, Split split, int64_t points, int64_t limit) {
  const auto file = [&](const char* what) {
    return (folder / concat(name_of(split), "_", what, ".bin")).string();
  };
  Dataset set = empty_set(points, read_names((folder / kNames).string()));
  const std::string labels_file = file("labels_u8"), points_file = file("points_f16");
  const std::vector<std::byte> label_bytes = read_file(labels_file, kMaxPackedBytes);
  if (label_bytes.empty())
    fail(Fault::kInput, labels_file, ": the file is empty, expected a byte per cloud");
  std::vector<int32_t> labels;
  for (const std::byte b : label_bytes) {
    labels.push_back(std::to_integer<int32_t>(b));
    if (labels.back() >= set.classes)
      fail(Fault::kInput, labels_file, ": cloud ", labels.size() - 1, ": label ", labels.back(),
           ", expected 0 to ", set.classes - 1, ", the classes of ", kNames);
  }
  const std::vector<std::byte> bytes = read_file(points_file, kMaxPackedBytes);
  const size_t cloud_bytes = bytes.size() / labels.size();
  constexpr size_t kPointBytes = 3 * sizeof(float16);
  const size_t found = cloud_bytes / kPointBytes;
  if (bytes.size() != labels.size() * found * kPointBytes)
    fail(Fault::kInput, points_file, ": its ", bytes.size(), " bytes are not ", labels.size(),
         " clouds, the labels in ", labels_file, ", of as many points of ", kPointBytes,
         " bytes: a file is cut off");
  if (std::cmp_less(found, points))
    fail(Fault::kInput, points_file, ": clouds of ", found, " points, ", points, " are wanted");
  std::vector<float> cloud(static_cast<size_t>(3 * points));
  for (const int64_t i : in_turn(labels, limit)) {
    const std::byte* from = bytes.data() + static_cast<size_t>(i) * cloud_bytes;
    for (size_t k = 0; k < cloud.size(); ++k) {
      float16 value;
      std::memcpy(&value.bits, from + k * sizeof value.bits, sizeof value.bits);
      cloud[k] = static_cast<float>(value);
      if (!std::isfinite(cloud[k]))
        fail(Fault::kInput, points_file, ": cloud ", i, ", point ", k / 3, ": ", "xyz"[k % 3],
             " is ", cloud[k], ", expected a finite number");
    }
    append(set, cloud, labels[static_cast<size_t>(i)]);
  }
  return set;
}

/// A file of a split and its class.
struct Entry {
  std::string path;
  int32_t label = 0;
};

std::vector<Entry> list_npy(const fs::path& folder) {
  std::vector<Entry> entries;
  if (!is_there(folder)) return entries;
  for (const std::string& name : list_folder(folder)) {
    if (!name.ends_with(".npy")) continue;
    const std::string_view stem = std::string_view(name).substr(0, name.size() - 4);
    const size_t from = stem.rfind('_') + 1;  // 0 without one
    int32_t label = -1;
    const auto [end, error] = std::from_chars(stem.data() + from, stem.data() + stem.size(), label);
    if (from == 0 || error != std::errc() || end != stem.data() + stem.size() || label < 0 ||
        label >= kMaxClasses)
      fail(Fault::kInput, (folder / printable(name, 200)).string(),
           ": its name tells no class, expected ID_LABEL.npy with a label from 0 to ",
           kMaxClasses - 1);
    entries.push_back({(folder / name).string(), label});
  }
  return entries;
}

/// Takes the files in turn of their classes; `read` makes a cloud of one.
template <class Read>
void read_entries(const fs::path& folder, const char* form, std::span<const Entry> entries,
                  int64_t limit, Dataset& set, const Read& read) {
  if (entries.empty())
    fail(Fault::kInput, folder.string(), ": no files ", form, " in it, expected at least one");
  std::vector<int32_t> labels;
  for (const Entry& e : entries) labels.push_back(e.label);
  for (const int64_t i : in_turn(labels, limit)) {
    const Entry& e = entries[static_cast<size_t>(i)];
    append(set, read(e.path), e.label);
  }
}

Dataset load_npy(const fs::path& folder, Split split, int64_t points, int64_t limit) {
  const std::vector<Entry> train = list_npy(folder / "train"), test = list_npy(folder / "test");
  int64_t classes = 0;
  for (const auto* entries : {&train, &test})
    for (const Entry& e : *entries) classes = std::max<int64_t>(classes, e.label + 1);
  Dataset set = empty_set(points, {});
  set.classes = classes;
  if (const fs::path file = folder / kNames; is_there(file)) {
    set.class_names = read_names(file.string());
    set.classes = std::ssize(set.class_names);
    if (classes > set.classes)
      fail(Fault::kInput, file.string(), ": ", set.classes, " classes, a cloud has label ",
           classes - 1);
  }
  read_entries(folder / name_of(split), "ID_LABEL.npy", split == Split::kTrain ? train : test,
               limit, set, [&](const std::string& path) {
                 return decode_npy_cloud(printable(path, 400), read_file(path, kMaxCloudBytes),
                                         points);
               });
  return set;
}

/// The same random numbers for a mesh wherever its folder lies.
Random random_of(const fs::path& path) {
  const Hash256 h = hash256("passnorm mesh v1", {path.filename().string()});
  uint64_t seed = 0;
  std::memcpy(&seed, h.data(), sizeof seed);
  return {seed, Purpose::kSynthetic};
}

/// Folders with train/ or test/.
std::vector<std::string> list_classes(const fs::path& folder) {
  std::vector<std::string> names;
  for (const std::string& name : list_folder(folder))
    if (is_there(folder / name / "train") || is_there(folder / name / "test"))
      names.push_back(name);
  return names;
}

Dataset load_off(const fs::path& folder, const std::vector<std::string>& classes, Split split,
                 int64_t points, int64_t limit) {
  std::vector<Entry> entries;
  std::vector<std::string> names;
  for (const std::string& name : classes) {
    const fs::path files = folder / name / name_of(split);
    if (is_there(files))
      for (const std::string& file : list_folder(files))
        if (file.ends_with(".off"))
          entries.push_back({(files / file).string(), static_cast<int32_t>(names.size())});
    names.push_back(printable(name));
  }
  Dataset set = empty_set(points, std::move(names));
  read_entries(folder, concat("CLASS/", name_of(split), "/*.off").c_str(), entries, limit, set,
               [&](const std::string& path) {
                 const std::string name = printable(path, 400);
                 const std::vector<std::byte> bytes = read_file(path, kMaxMeshBytes);
                 return sample_surface(name, parse_off(name, text_of(bytes)), points,
                                       random_of(path));
               });
  return set;
}

}  // namespace

Dataset modelnet(const std::string& folder, Split split, int64_t points, int64_t limit) {
  PASSNORM_CHECK(points >= 1 && points <= kMaxPoints && limit >= 0, points, " points, limit ",
                 limit);
  const fs::path in(folder);
  if (is_there(in / concat(name_of(split), "_points_f16.bin")) ||
      is_there(in / concat(name_of(split), "_labels_u8.bin")))
    return load_packed(in, split, points, limit);
  if (is_there(in / name_of(split))) return load_npy(in, split, points, limit);
  if (is_there(in))
    if (const auto classes = list_classes(in); !classes.empty())
      return load_off(in, classes, split, points, limit);
  fail(Fault::kInput, folder, ": no clouds: expected ", name_of(split), "_points_f16.bin, ",
       name_of(split), "/ID_LABEL.npy, or meshes CLASS/", name_of(split), "/*.off");
}

}  // namespace passnorm::train
