// Matrix product from its definition.
#pragma once

#include "tests/reference/sums.hpp"

namespace reference {

/// op(a) op(b), op(a) [m, k] and op(b) [k, n], row-major.
inline Sums gemm(int64_t m, int64_t n, int64_t k, const Values& a, bool transpose_a,
                 const Values& b, bool transpose_b) {
  Sums y(m * n);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t p = 0; p < k; ++p)
        y.add(i * n + j, a[static_cast<size_t>(transpose_a ? p * m + i : i * k + p)] *
                             b[static_cast<size_t>(transpose_b ? j * k + p : p * n + j)]);
  return y;
}

}  // namespace reference
