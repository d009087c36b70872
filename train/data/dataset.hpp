// Data sets of small images, held in memory as bytes.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace passnorm::train {

enum class Split : uint32_t { kTrain = 0, kTest = 1 };

struct ImageSet {
  int64_t n = 0, channels = 3, h = 32, w = 32, classes = 0;
  std::vector<uint8_t> images;           ///< [n, channels, h, w]: planes
  std::vector<int32_t> labels;           ///< [n], in [0, classes)
  std::vector<std::string> class_names;  ///< [classes]
  std::array<float, 4> mean{};           ///< per channel, of values in [0, 1]
  std::array<float, 4> stddev{1, 1, 1, 1};

  std::span<const uint8_t> image(int64_t i) const {
    const auto size = static_cast<size_t>(channels * h * w);
    return std::span(images).subspan(static_cast<size_t>(i) * size, size);
  }
};

/// What the user names: "cifar10:DIR", "cifar100:DIR", "synthetic", "synthetic:N=8000".
struct DataSpec {
  std::string name;
  std::string folder;  ///< of a set that lies in files
  int64_t n = 0;       ///< of a set that is made: training images; 0 = its default
};

/// Error(kUsage) that lists the known forms on an unknown name (with the nearest), a missing folder
/// or a bad option. Touches no file.
DataSpec parse_data_spec(std::string_view text);

/// The first `limit` images in the set's official order; 0 = all. Error(kInput) names the file, the
/// record and what was expected.
ImageSet load(const DataSpec& spec, Split split, int64_t limit = 0);

/// Normalisation constants by name: "data" leaves the set's own (PAN), "imagenet" takes ImageNet's,
/// which DeepIPR uses for every set. Error(kUsage) for other names.
void choose_normalisation(ImageSet& set, std::string_view name);

}  // namespace passnorm::train
