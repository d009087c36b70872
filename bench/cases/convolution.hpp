// Convolutions that tests and benches iterate.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

namespace passnorm::cases {

struct ConvCase {
  const char* name;
  int64_t n, h, w, c, o, kh, kw, stride, pad;

  int64_t oh() const { return (h + 2 * pad - kh) / stride + 1; }
  int64_t ow() const { return (w + 2 * pad - kw) / stride + 1; }
  /// Of forward, and of each of the two gradients.
  double flops() const {
    return 2.0 * static_cast<double>(n * oh() * ow()) * static_cast<double>(o * kh * kw * c);
  }
  /// Least traffic: x, w and y once each.
  double bytes(double element) const {
    return element * static_cast<double>(n * h * w * c + o * kh * kw * c + n * oh() * ow() * o);
  }
  friend std::ostream& operator<<(std::ostream& out, const ConvCase& a) { return out << a.name; }
};

/// Channels around vector widths, strides that leave rows over, kernels larger than the image
/// without its padding.
inline const std::vector<ConvCase>& odd_convolutions() {
  static const std::vector<ConvCase> all{
      {"one", 1, 1, 1, 1, 1, 1, 1, 1, 0},
      {"one_tap_of_nine", 2, 1, 1, 5, 3, 3, 3, 1, 1},
      {"c31_o33", 2, 5, 7, 31, 33, 3, 3, 1, 1},
      {"c32_o32", 1, 6, 6, 32, 32, 3, 3, 1, 1},
      {"c33_o31", 3, 5, 4, 33, 31, 3, 3, 1, 0},
      {"stride2_odd", 2, 7, 9, 3, 8, 3, 3, 2, 1},
      {"stride2_even", 1, 8, 6, 4, 5, 3, 3, 2, 1},
      {"stride3_rows_over", 1, 9, 10, 2, 3, 2, 2, 3, 0},
      {"shortcut", 2, 8, 8, 16, 24, 1, 1, 2, 0},
      {"k5_pad2", 1, 8, 8, 3, 7, 5, 5, 1, 2},
      {"k7_stride2_pad3", 1, 15, 15, 3, 9, 7, 7, 2, 3},
      {"k11_stride4_pad2", 1, 23, 23, 3, 4, 11, 11, 4, 2},
      {"wide_kernel", 1, 4, 12, 6, 5, 1, 5, 1, 0},
      {"points", 3, 1, 33, 3, 64, 1, 1, 1, 0},
      {"linear", 5, 1, 1, 127, 10, 1, 1, 1, 0},
  };
  return all;
}

/// Layers of the networks, n samples: AlexNet and ResNet-18 on 32x32 images, PointNet on 1024
/// points.
inline std::vector<ConvCase> layer_convolutions(int64_t n) {
  return {
      {"alexnet0", n, 32, 32, 3, 64, 5, 5, 1, 2},
      {"alexnet2", n, 16, 16, 64, 192, 5, 5, 1, 2},
      {"alexnet4", n, 8, 8, 192, 384, 3, 3, 1, 1},
      {"alexnet5", n, 8, 8, 384, 256, 3, 3, 1, 1},
      {"alexnet6", n, 8, 8, 256, 256, 3, 3, 1, 1},
      {"resnet_stem", n, 32, 32, 3, 64, 3, 3, 1, 1},
      {"resnet_layer1", n, 32, 32, 64, 64, 3, 3, 1, 1},
      {"resnet_layer2_0", n, 32, 32, 64, 128, 3, 3, 2, 1},
      {"resnet_layer2_shortcut", n, 32, 32, 64, 128, 1, 1, 2, 0},
      {"resnet_layer2", n, 16, 16, 128, 128, 3, 3, 1, 1},
      {"resnet_layer3", n, 8, 8, 256, 256, 3, 3, 1, 1},
      {"resnet_layer4", n, 4, 4, 512, 512, 3, 3, 1, 1},
      {"pointnet_conv3", n, 1, 1024, 128, 1024, 1, 1, 1, 0},
  };
}

}  // namespace passnorm::cases
