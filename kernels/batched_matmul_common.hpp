// What the batched products of both devices share: the checks of their arguments.
#pragma once

#include "kernels/batched_matmul.hpp"

namespace passnorm::kernels {

inline void check(const BatchedMatmulGeometry& g, int64_t x, int64_t t, int64_t y) {
  constexpr int64_t kMost = BatchedMatmulGeometry::kMaxColumns;
  PASSNORM_CHECK(g.batches > 0 && g.l > 0 && g.i > 0 && g.j > 0 && g.i <= kMost && g.j <= kMost,
                 g.batches, " products of ", g.l, " x ", g.i, " by ", g.i, " x ", g.j);
  const int64_t whole_x = g.batches * g.l * g.i, whole_t = g.batches * g.i * g.j;
  PASSNORM_CHECK((x == whole_x && t == whole_t) || (x == whole_x && 2 * t == whole_t) ||
                     (2 * x == whole_x && t == whole_t),
                 "x has ", x, " elements, t ", t, ", of ", whole_x, " and ", whole_t);
  PASSNORM_CHECK(y == g.batches * g.l * g.j, "y has ", y, " elements");
}
inline void check(const BatchedMatmul& a) {
  check(a.geometry, a.x.size, static_cast<int64_t>(a.t.size()), a.y.size);
}
inline void check(const BatchedMatmulBackward& a) {
  check(a.geometry, a.x.size, static_cast<int64_t>(a.t.size()), a.dy.size);
  PASSNORM_CHECK(a.dx.size == 0 || a.dx.size == a.x.size, "dx has ", a.dx.size, " elements, x ",
                 a.x.size);
  PASSNORM_CHECK(a.dt.empty() || a.dt.size() == a.t.size(), "dt has ", a.dt.size(), " elements, t ",
                 a.t.size());
}

}  // namespace passnorm::kernels
