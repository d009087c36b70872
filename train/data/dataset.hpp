// Data sets of small images or point clouds, held in memory.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace passnorm::train {

enum class Split : uint32_t { kTrain = 0, kTest = 1 };

/// Images, or clouds of L points: "images" of height 1 and width L whose 3 channels are x, y, z.
struct Dataset {
  int64_t n = 0, channels = 3, h = 32, w = 32, classes = 0;
  std::vector<uint8_t> images{};           ///< [n, channels, h, w]: planes; empty for clouds
  std::vector<int32_t> labels{};           ///< [n], in [0, classes)
  std::vector<std::string> class_names{};  ///< [classes], or empty: they have none
  std::array<float, 4> mean{};             ///< per channel, of values in [0, 1]; clouds: 0 and 1
  std::array<float, 4> stddev{1, 1, 1, 1};
  std::vector<float> points{};  ///< [n, L, 3], finite; empty for images

  bool is_cloud() const { return h == 1; }
  std::span<const uint8_t> image(int64_t i) const {
    const auto size = static_cast<size_t>(channels * h * w);
    return std::span(images).subspan(static_cast<size_t>(i) * size, size);
  }
  std::span<const float> cloud(int64_t i) const {
    const auto size = static_cast<size_t>(3 * w);
    return std::span(points).subspan(static_cast<size_t>(i) * size, size);
  }
  /// What images and points take.
  size_t bytes() const { return images.size() + points.size() * sizeof(float); }
  /// "images" or "clouds", for messages.
  const char* noun() const { return is_cloud() ? "clouds" : "images"; }
  /// "3x32x32 images" or "clouds of 1024 points", for messages.
  std::string form() const;
  /// Images or clouds `index`, in this order; an index may stand twice.
  Dataset select(std::span<const int64_t> index) const;
};

/// What the user names: "cifar10:DIR", "synthetic:N=8000", "modelnet:DIR:points=256".
struct DataSpec {
  std::string name;
  std::string folder;  ///< of a set that lies in files
  int64_t n = 0;       ///< of a set that is made: training images or clouds; 0 = its default
  int64_t points = 0;  ///< of a cloud; 0 = the set's default
};

/// Error(kUsage) that lists the known forms on an unknown name (with the nearest), a missing folder
/// or a bad option. Touches no file.
DataSpec parse_data_spec(std::string_view text);
bool is_data_set(std::string_view name);  ///< one that parse_data_spec knows

/// The first `limit` images or clouds in the set's official order; 0 = all. Error(kInput) names the
/// file, the record and what was expected.
Dataset load(const DataSpec& spec, Split split, int64_t limit = 0);

/// Normalisation constants by name: "data" leaves the set's own (PAN), "imagenet" takes ImageNet's,
/// which DeepIPR uses for every set of images. Error(kUsage) for other names, and for clouds.
void choose_normalisation(Dataset& set, std::string_view name);

}  // namespace passnorm::train
