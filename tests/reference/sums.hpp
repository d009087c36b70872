// What every oracle returns: values in double and, next to each, the sum of the absolute values of
// its terms, from which the error bound of any order of summation follows. The oracles include
// nothing of the library.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace reference {

using Values = std::vector<double>;

struct Sums {
  Values value;
  Values magnitude;

  Sums() = default;
  explicit Sums(int64_t n) : value(static_cast<size_t>(n)), magnitude(static_cast<size_t>(n)) {}
  int64_t size() const { return static_cast<int64_t>(value.size()); }

  void add(int64_t i, double term) { add(i, term, std::abs(term)); }
  /// A term that is itself a result: its magnitude is more than its absolute value.
  void add(int64_t i, double term, double term_magnitude) {
    value[static_cast<size_t>(i)] += term;
    magnitude[static_cast<size_t>(i)] += term_magnitude;
  }
  /// Adds what stood in an accumulated output before.
  Sums& operator+=(const Values& before) {
    for (int64_t i = 0; i < size(); ++i) add(i, before[static_cast<size_t>(i)]);
    return *this;
  }
};

/// sum_i a_i b_i
inline double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace reference
