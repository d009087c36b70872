// Activations [N, S, C] that the norm, pooling and elementwise tests and benches iterate.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

namespace passnorm::cases {

struct NormCase {
  const char* name;
  int64_t n, s, c;
  int64_t group_channels;  ///< of group norm; divides c

  double elements() const { return static_cast<double>(n * s * c); }
  /// Least traffic: forward reads x and writes y; backward reads x and dy and writes dx.
  double forward_bytes(double element) const { return 2 * element * elements(); }
  double backward_bytes(double element) const { return 3 * element * elements(); }
  friend std::ostream& operator<<(std::ostream& out, const NormCase& a) { return out << a.name; }
};

/// Channels and rows around vector widths; n is even: its halves can be two lanes.
inline const std::vector<NormCase>& odd_norms() {
  static const std::vector<NormCase> all{
      {"one_channel", 2, 3, 1, 1}, {"one_position", 4, 1, 32, 16}, {"c31", 2, 33, 31, 31},
      {"c32_s31", 4, 31, 32, 16},  {"c33", 2, 5, 33, 11},          {"c48", 6, 7, 48, 16},
      {"c7_long", 2, 257, 7, 7},   {"c130", 2, 9, 130, 13},        {"few_rows", 4, 4, 64, 16},
  };
  return all;
}

/// Layers of the networks, n samples.
inline std::vector<NormCase> layer_norms(int64_t n) {
  return {{"resnet_layer1", n, 1024, 64, 16}, {"resnet_layer2", n, 256, 128, 16},
          {"resnet_layer3", n, 64, 256, 16},  {"resnet_layer4", n, 16, 512, 16},
          {"alexnet2", n, 256, 192, 16},      {"pointnet_conv3", n, 1024, 1024, 16},
          {"pointnet_p1", n, 1, 512, 16}};
}

/// Lengths of flat arrays around vectors, unrolled vectors, and the grain of a thread.
inline const std::vector<int64_t>& lengths() {
  static const std::vector<int64_t> all{1,  2,  15, 16, 17,   31,   32,
                                        33, 63, 64, 65, 1000, 4097, 100003};
  return all;
}

}  // namespace passnorm::cases
