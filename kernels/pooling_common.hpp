// What the pooling kernels of both devices share: the checks of their arguments.
#pragma once

#include <cstdint>

#include "kernels/pooling.hpp"

namespace passnorm::kernels {

inline void check(const PoolGeometry& g, int64_t x, int64_t y, size_t argmax) {
  PASSNORM_CHECK(g.size >= 1 && g.size <= 16 && g.stride >= 1, "window of ", g.size, ", stride ",
                 g.stride);
  PASSNORM_CHECK(g.pad >= 0 && g.pad < g.size, "pad ", g.pad, ": a window must touch the image");
  PASSNORM_CHECK(g.h + 2 * g.pad >= g.size && g.w + 2 * g.pad >= g.size,
                 "the window does not fit the image");
  PASSNORM_CHECK(x == g.n * g.h * g.w * g.c, "x has ", x, " elements");
  PASSNORM_CHECK(y == g.n * g.oh() * g.ow() * g.c, "y has ", y, " elements");
  PASSNORM_CHECK(static_cast<int64_t>(argmax) == y, "argmax has ", argmax, " elements, y ", y);
}
inline void check(const MaxPoolForward& a) {
  check(a.geometry, a.x.size, a.y.size, a.argmax.size());
}
inline void check(const MaxPoolBackward& a) {
  check(a.geometry, a.dx.size, a.dy.size, a.argmax.size());
}

template <class Args>
void check_global(const Args& a, int64_t x, int64_t y, bool maximum) {
  PASSNORM_CHECK(a.s >= 1 && a.s <= INT32_MAX, a.s, " positions");
  PASSNORM_CHECK(x == a.n * a.s * a.c && y == a.n * a.c, "x has ", x, " elements, y ", y);
  PASSNORM_CHECK(static_cast<int64_t>(a.argmax.size()) == (maximum ? y : 0), "argmax has ",
                 a.argmax.size(), " elements");
}
inline void check(const GlobalPoolForward& a, bool maximum) {
  check_global(a, a.x.size, a.y.size, maximum);
}
inline void check(const GlobalPoolBackward& a, bool maximum) {
  check_global(a, a.dx.size, a.dy.size, maximum);
}

}  // namespace passnorm::kernels
