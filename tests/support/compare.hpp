// Comparison of a kernel's buffer with an oracle's sums, and of buffers with each other.
#pragma once

#include <gtest/gtest.h>

#include <sstream>

#include "tests/reference/sums.hpp"
#include "tests/support/buffer.hpp"
#include "tests/support/tolerance.hpp"

namespace passnorm::test {

/// The index of element i in an array of these sizes, as [a,b,c].
inline std::string index_text(int64_t i, const std::vector<int64_t>& sizes) {
  std::vector<int64_t> index{i};
  for (size_t k = sizes.size(); k-- > 1;) {
    index.insert(index.begin() + 1, index[0] % sizes[k]);
    index[0] /= sizes[k];
  }
  std::ostringstream text;
  for (size_t k = 0; k < index.size(); ++k) text << (k ? "," : "[") << index[k];
  return text.str() + "]";
}

/// Every element within the bound; says which element is worst. sizes: only for the message.
inline testing::AssertionResult close(const Buffer& actual, const reference::Sums& expected,
                                      Bound bound, const std::vector<int64_t>& sizes = {}) {
  if (actual.size() != expected.size())
    return testing::AssertionFailure()
           << actual.size() << " elements, expected " << expected.size();
  int64_t worst = -1, wrong = 0;
  double worst_ratio = 1;
  for (int64_t i = 0; i < actual.size(); ++i) {
    const auto k = static_cast<size_t>(i);
    const double tolerance =
        bound.tolerance(expected.value[k], expected.magnitude[k], actual.dtype());
    double ratio = std::abs(actual[i] - expected.value[k]) / tolerance;
    if (std::isnan(ratio))
      ratio = std::numeric_limits<double>::infinity();  // NaN: wrong, or never written
    if (ratio <= 1) continue;
    ++wrong;
    if (worst < 0 || ratio > worst_ratio) worst = i, worst_ratio = ratio;
  }
  if (worst < 0) return testing::AssertionSuccess();
  const auto k = static_cast<size_t>(worst);
  return testing::AssertionFailure()
         << wrong << " of " << actual.size() << " " << name_of(actual.dtype())
         << " elements wrong; worst " << index_text(worst, sizes) << ": " << actual[worst]
         << ", expected " << expected.value[k] << " +- "
         << bound.tolerance(expected.value[k], expected.magnitude[k], actual.dtype()) << ", "
         << worst_ratio << " times the tolerance";
}

/// Every element exactly these values (two NaNs are equal).
inline testing::AssertionResult equal(const Buffer& actual, const std::vector<double>& expected) {
  if (actual.size() != static_cast<int64_t>(expected.size()))
    return testing::AssertionFailure()
           << actual.size() << " elements, expected " << expected.size();
  for (int64_t i = 0; i < actual.size(); ++i) {
    const double e = expected[static_cast<size_t>(i)];
    if (!(actual[i] == e || (std::isnan(actual[i]) && std::isnan(e))))
      return testing::AssertionFailure()
             << "element " << i << " is " << actual[i] << ", expected " << e;
  }
  return testing::AssertionSuccess();
}

inline testing::AssertionResult same_bits(const Buffer& a, const Buffer& b) {
  const auto x = a.bits(), y = b.bits();
  if (x.size() != y.size())
    return testing::AssertionFailure() << x.size() << " bytes and " << y.size();
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i] != y[i]) {
      const auto k = static_cast<int64_t>(i / size_of(a.dtype()));
      return testing::AssertionFailure() << "element " << k << " is " << a[k] << " and " << b[k];
    }
  return testing::AssertionSuccess();
}

}  // namespace passnorm::test
