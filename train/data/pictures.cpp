#include "train/data/pictures.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <vector>

#include "engine/io/file.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"
#include "train/data/cifar.hpp"
#include "train/data/folders.hpp"
#include "train/data/image_file.hpp"

namespace passnorm::train {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSide = 32;
constexpr const char* kNoClass = "BACKGROUND_Google";
constexpr const char* kForms =
    "CLASS/*.jpg (.jpeg, .png), or train/ and test/ (or val/) with such folders";

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::string shown(const fs::path& path) { return printable(path.string(), 400); }

std::vector<std::string> list_classes(const fs::path& folder) {
  std::vector<std::string> names = list_folder(folder);
  std::erase_if(names, [&](const std::string& name) {
    return name == kNoClass || !is_folder(folder / name);
  });
  return names;
}

bool is_picture(const std::string& name) {
  std::string extension = fs::path(name).extension();
  std::ranges::transform(extension, extension.begin(), [](char c) {
    return 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

std::vector<fs::path> list_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const std::string& name : list_folder(folder))
    if (is_picture(name)) files.push_back(folder / name);
  return files;
}

/// What both references take of Caltech's classes.
std::vector<fs::path> part_of(const fs::path& folder, Split split) {
  std::vector<fs::path> files = list_files(folder);
  if (files.size() < 2)
    fail(Fault::kInput, shown(folder), ": has ", files.size(),
         " pictures, a class needs at least 2, to train and to test; a set has ", kForms);
  const auto middle = files.begin() + std::ssize(files) * 4 / 5;
  if (split == Split::kTrain)
    files.erase(middle, files.end());
  else
    files.erase(files.begin(), middle);
  return files;
}

Picture read_picture(const fs::path& file) {
  const std::string name = shown(file);
  const Picture picture = decode_image(name, read_file(file.string(), kMaxPictureBytes));
  try {
    return center_crop(resize_shorter_side(picture, kSide), {kSide, kSide});
  } catch (const Error& e) {
    fail(e.fault(), name, ": ", e.what());  // a picture that is too long and thin has no name there
  }
}

}  // namespace

Dataset pictures(const std::string& folder, Split split, int64_t limit) {
  PASSNORM_CHECK(limit >= 0, "limit ", limit);
  const fs::path whole(folder), train = whole / "train",
                                test = whole / (is_folder(whole / "test") ? "test" : "val");
  const bool is_split = is_folder(train) && is_folder(test);
  std::vector<std::string> names = list_classes(is_split ? train : whole);
  if (is_split) {
    std::vector<std::string> both;
    std::ranges::set_union(names, list_classes(test), std::back_inserter(both));
    names.swap(both);
  }
  if (names.empty()) fail(Fault::kInput, folder, ": no pictures: expected ", kForms);
  if (std::ssize(names) > kMaxClasses)
    fail(Fault::kInput, folder, ": ", names.size(), " folders, expected at most ", kMaxClasses,
         " classes");

  Dataset set{.h = kSide, .w = kSide, .mean = kCifarMean, .stddev = kCifarStddev};
  std::vector<fs::path> files;
  std::vector<int32_t> labels;
  for (const std::string& name : names) {
    std::vector<fs::path> more;
    if (!is_split)
      more = part_of(whole / name, split);
    else if (const fs::path in = (split == Split::kTrain ? train : test) / name; is_folder(in))
      more = list_files(in);
    files.insert(files.end(), more.begin(), more.end());
    labels.resize(files.size(), static_cast<int32_t>(set.classes++));
    set.class_names.push_back(printable(name));
  }
  if (files.empty())
    fail(Fault::kInput, (split == Split::kTrain ? train : test).string(),
         ": no pictures: expected CLASS/*.jpg (.jpeg, .png)");
  for (const int64_t i : in_turn(labels, limit)) {
    append_planes(read_picture(files[static_cast<size_t>(i)]), set.images);
    set.labels.push_back(labels[static_cast<size_t>(i)]);
  }
  set.n = std::ssize(set.labels);
  return set;
}

}  // namespace passnorm::train
