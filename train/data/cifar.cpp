#include "train/data/cifar.hpp"

#include <algorithm>
#include <filesystem>

#include "engine/io/file.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::train {
namespace {

constexpr size_t kPixels = 3 * 32 * 32;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;

constexpr const char* kNames10[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                    "dog",      "frog",       "horse", "ship", "truck"};
constexpr const char* kNames100[] = {
    "apple",       "aquarium_fish", "baby",      "bear",       "beaver",       "bed",
    "bee",         "beetle",        "bicycle",   "bottle",     "bowl",         "boy",
    "bridge",      "bus",           "butterfly", "camel",      "can",          "castle",
    "caterpillar", "cattle",        "chair",     "chimpanzee", "clock",        "cloud",
    "cockroach",   "couch",         "crab",      "crocodile",  "cup",          "dinosaur",
    "dolphin",     "elephant",      "flatfish",  "forest",     "fox",          "girl",
    "hamster",     "house",         "kangaroo",  "keyboard",   "lamp",         "lawn_mower",
    "leopard",     "lion",          "lizard",    "lobster",    "man",          "maple_tree",
    "motorcycle",  "mountain",      "mouse",     "mushroom",   "oak_tree",     "orange",
    "orchid",      "otter",         "palm_tree", "pear",       "pickup_truck", "pine_tree",
    "plain",       "plate",         "poppy",     "porcupine",  "possum",       "rabbit",
    "raccoon",     "ray",           "road",      "rocket",     "rose",         "sea",
    "seal",        "shark",         "shrew",     "skunk",      "skyscraper",   "snail",
    "snake",       "spider",        "squirrel",  "streetcar",  "sunflower",    "sweet_pepper",
    "table",       "tank",          "telephone", "television", "tiger",        "tractor",
    "train",       "trout",         "tulip",     "turtle",     "wardrobe",     "whale",
    "willow_tree", "wolf",          "woman",     "worm"};
static_assert(std::size(kNames100) == 100);

/// What tells the two sets apart.
struct Layout {
  const char* name;
  const char* subfolder;  ///< in the official archive
  std::vector<std::string> train, test;
  std::vector<int> label_classes;  ///< of each byte before the pixels; the last is the label
  std::span<const char* const> class_names;

  size_t record_bytes() const { return label_classes.size() + kPixels; }
};

const Layout& layout10() {
  static const Layout layout{"cifar10",
                             "cifar-10-batches-bin",
                             {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                              "data_batch_4.bin", "data_batch_5.bin"},
                             {"test_batch.bin"},
                             {10},
                             kNames10};
  return layout;
}

const Layout& layout100() {
  static const Layout layout{"cifar100",   "cifar-100-binary", {"train.bin"},
                             {"test.bin"}, {20, 100},          kNames100};
  return layout;
}

/// The folder that holds the first file of the split.
std::filesystem::path find_folder(const Layout& layout, const std::filesystem::path& folder,
                                  const std::string& first) {
  for (const auto& candidate : {folder, folder / layout.subfolder}) {
    std::error_code ignored;
    if (std::filesystem::exists(candidate / first, ignored)) return candidate;
  }
  fail(Fault::kInput, folder.string(), ": no ", layout.name, " data: expected ", first,
       " there or in ", layout.subfolder,
       "/ (the binary version from https://www.cs.toronto.edu/~kriz/cifar.html)");
}

/// Appends at most `wanted` records of a file.
void append_file(const Layout& layout, const std::string& path, size_t wanted, Dataset& set) {
  const std::vector<std::byte> bytes = read_file(path, kMaxFileBytes);
  const size_t record_bytes = layout.record_bytes(), records = bytes.size() / record_bytes;
  if (bytes.empty())
    fail(Fault::kInput, path, ": the file is empty, expected records of ", record_bytes, " bytes");
  if (bytes.size() % record_bytes != 0)
    fail(Fault::kInput, path, ": record ", records, " has only ", bytes.size() % record_bytes,
         " of ", record_bytes, " bytes: the file is cut off or not ", layout.name);
  const size_t taken = std::min(records, wanted);
  set.labels.reserve(set.labels.size() + taken);
  set.images.reserve(set.images.size() + taken * kPixels);
  for (size_t i = 0; i < taken; ++i) {
    const auto* record = reinterpret_cast<const uint8_t*>(bytes.data()) + i * record_bytes;
    int32_t label = 0;
    for (const int classes : layout.label_classes) {
      label = *record++;
      if (label >= classes)
        fail(Fault::kInput, path, ": record ", i, ": label ", label, ", expected 0 to ",
             classes - 1);
    }
    set.labels.push_back(label);
    set.images.insert(set.images.end(), record, record + kPixels);
  }
}

Dataset load_cifar(const Layout& layout, const std::string& folder, Split split, int64_t limit) {
  const auto& files = split == Split::kTrain ? layout.train : layout.test;
  Dataset set;
  set.classes = static_cast<int64_t>(layout.class_names.size());
  set.class_names.assign(layout.class_names.begin(), layout.class_names.end());
  set.mean = kCifarMean;
  set.stddev = kCifarStddev;
  const std::filesystem::path found = find_folder(layout, folder, files.front());
  const size_t wanted = limit > 0 ? static_cast<size_t>(limit) : SIZE_MAX;
  for (const std::string& file : files)
    if (set.labels.size() < wanted)
      append_file(layout, found / file, wanted - set.labels.size(), set);
  set.n = static_cast<int64_t>(set.labels.size());
  return set;
}

}  // namespace

Dataset cifar10(const std::string& folder, Split split, int64_t limit) {
  return load_cifar(layout10(), folder, split, limit);
}
Dataset cifar100(const std::string& folder, Split split, int64_t limit) {
  return load_cifar(layout100(), folder, split, limit);
}

}  // namespace passnorm::train
