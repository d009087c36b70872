// Winograd's convolution F(4x4, 3x3) rounds more than the direct one: by how much, from its own
// matrices. Lavin and Gray, CVPR 2016; error analysis: Barabasz, Anderson, Soodhalter, Gregg, ACM
// TOMS 46 (2020).
#pragma once

#include <algorithm>
#include <array>

#include "tests/reference/sums.hpp"

namespace reference {

/// Y = A^T [(G g G^T) * (B^T d B)] A on the points 0, +-5/8, +-3/2, infinity (oneDNN's). An error
/// bound has the absolute values of the matrices in place of the matrices; how rows are scaled
/// cancels in it. `forward` bounds one output per unit of sum_c max|d| max|g|; `weight` one weight
/// gradient G^T [(B^T d B) * (A dy A^T)] G per unit of sum_tiles max|d| max|dy|.
struct WinogradAmplification {
  double forward = 0, weight = 0;
  /// Roundings besides those of the sum: two one-dimensional passes per transform, and the
  /// matrices' own.
  static constexpr double kTransformRoundings = 2 * (6 + 3 + 6) + 3;

  WinogradAmplification() {
    constexpr std::array<double, 5> point{0, 0.625, -0.625, 1.5, -1.5};
    std::array<std::array<double, 4>, 6> a{};  // A
    std::array<std::array<double, 3>, 6> g{};  // G
    std::array<double, 6> b{};                 // row sums of |B^T|
    const auto absolute_coefficients =
        [&](size_t without) {  // of prod (x - p), p all points but one
          std::array<double, 6> polynomial{1};
          for (size_t l = 0; l < point.size(); ++l) {
            if (l == without) continue;
            for (size_t i = 5; i > 0; --i)
              polynomial[i] = polynomial[i - 1] - point[l] * polynomial[i];
            polynomial[0] *= -point[l];
          }
          double sum = 0;
          for (double coefficient : polynomial) sum += std::abs(coefficient);
          return sum;
        };
    for (size_t k = 0; k < 5; ++k) {
      double scale = 1;
      for (size_t l = 0; l < 5; ++l) scale *= l == k ? 1 : point[k] - point[l];
      for (size_t i = 0; i < 4; ++i) a[k][i] = std::abs(std::pow(point[k], static_cast<double>(i)));
      for (size_t j = 0; j < 3; ++j)
        g[k][j] = std::abs(std::pow(point[k], static_cast<double>(j)) / scale);
      b[k] = absolute_coefficients(k);
    }
    a[5][3] = g[5][2] = 1;
    b[5] = absolute_coefficients(5);
    const auto total = [](const auto& row) {
      double sum = 0;
      for (double v : row) sum += v;
      return sum;
    };
    for (size_t i = 0; i < 4; ++i) {
      double sum = 0;
      for (size_t k = 0; k < 6; ++k) sum += a[k][i] * total(g[k]) * b[k];
      forward = std::max(forward, sum * sum);
    }
    for (size_t j = 0; j < 3; ++j) {
      double sum = 0;
      for (size_t k = 0; k < 6; ++k) sum += g[k][j] * total(a[k]) * b[k];
      weight = std::max(weight, sum * sum);
    }
  }
};

}  // namespace reference
