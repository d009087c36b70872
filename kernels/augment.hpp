// From stored bytes to a training batch: pick, crop, flip, normalise, in one pass.
#pragma once

#include <array>
#include <span>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// y[i] = (crop(flip(image[index[i]])) / 255 - mean) / std. The crop is a window of the image's own
/// size at a uniform offset in the image padded with black by `pad` pixels (value 0 before
/// normalisation, as torchvision's RandomCrop); the flip is horizontal with probability 1/2. Image
/// i uses random number `index[i]` of (seed, kAugment, epoch). An index outside the images:
/// Error(kBug) on a CPU; on a GPU, whose indices the host cannot see, the image is NaN and its
/// label -1.
struct Augment {
  int64_t n = 0, h = 0, w = 0, c = 3;
  std::span<const uint8_t> images;  ///< [images, C, H, W]: planes, as CIFAR stores them
  std::span<const int64_t> index;   ///< [N]: which images
  std::array<float, 4> mean{};      ///< per channel, of values in [0, 1]
  std::array<float, 4> stddev{1, 1, 1, 1};
  int64_t pad = 0;  ///< 0: no crop
  bool flip = false;
  uint64_t seed = 0;
  DeviceValue<uint32_t> epoch = 0u;
  View y;                              ///< [N, H, W, C]
  std::span<const int32_t> labels{};   ///< [images], or empty
  std::span<int32_t> picked_labels{};  ///< [N]: labels[index[i]]; empty with labels
};
void augment(CpuStream& stream, const Augment& a);
void augment(CudaStream& stream, const Augment& a);

}  // namespace passnorm::kernels
