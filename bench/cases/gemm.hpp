// Matrix products that tests and benches iterate.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

namespace passnorm::cases {

struct GemmCase {
  int64_t m, n, k;
  double flops() const {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
  double bytes(double element) const {
    return element * static_cast<double>(m * k + k * n + m * n);
  }
  friend std::ostream& operator<<(std::ostream& out, const GemmCase& a) {
    return out << a.m << "x" << a.n << "x" << a.k;
  }
};

/// Around vector widths and blocks, single rows and columns, and the classifiers of the networks.
inline const std::vector<GemmCase>& gemms() {
  static const std::vector<GemmCase> all{{1, 1, 1},    {1, 10, 256},  {31, 33, 32},   {32, 32, 32},
                                         {33, 31, 65}, {64, 10, 512}, {7, 100, 1000}, {128, 1, 129},
                                         {3, 257, 17}, {64, 40, 256}};
  return all;
}

}  // namespace passnorm::cases
