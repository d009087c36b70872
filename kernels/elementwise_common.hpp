// What the elementwise kernels of both devices share: the checks of their arguments.
#pragma once

#include "kernels/elementwise.hpp"

namespace passnorm::kernels {

inline void check(const Cast& a) {
  PASSNORM_CHECK(a.x.size == a.y.size, "x has ", a.x.size, " elements, y ", a.y.size);
}

inline void check(const AddTo& a) {
  PASSNORM_CHECK(a.x.size == a.y.size, "x has ", a.x.size, " elements, y ", a.y.size);
}

inline void check(const AddIdentity& a) {
  PASSNORM_CHECK(a.size > 0 && a.x.size % (a.size * a.size) == 0 && a.x.size == a.y.size, "x has ",
                 a.x.size, " elements, y ", a.y.size, ", of matrices of size ", a.size);
}

inline bool whole_or_half(int64_t size, int64_t n) { return size == n || size * 2 == n; }

inline void check(const Add& a) {
  PASSNORM_CHECK(whole_or_half(a.a.size, a.y.size) && whole_or_half(a.b.size, a.y.size), "a has ",
                 a.a.size, " elements, b ", a.b.size, ", y ", a.y.size);
}

inline void check(const ReluBackward& a) {
  PASSNORM_CHECK(whole_or_half(a.dx.size, a.dy.size) && (!a.y || a.y.size == a.dy.size), "y has ",
                 a.y.size, " elements, dy ", a.dy.size, ", dx ", a.dx.size);
}

}  // namespace passnorm::kernels
