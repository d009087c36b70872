// Pooling, channels last, from its definition.
#pragma once

#include <vector>

#include "tests/reference/sums.hpp"

namespace reference {

struct Pool {
  int64_t n = 1, h = 1, w = 1, c = 1, size = 2, stride = 2, pad = 0;
  int64_t oh() const { return (h + 2 * pad - size) / stride + 1; }
  int64_t ow() const { return (w + 2 * pad - size) / stride + 1; }
  int64_t y_size() const { return n * oh() * ow() * c; }

  /// f(y index, x index, position in the window) for every real element of every window, row-major.
  template <class F>
  void for_each_tap(F&& f) const {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t p = 0; p < oh(); ++p)
        for (int64_t q = 0; q < ow(); ++q)
          for (int64_t k = 0; k < c; ++k)
            for (int64_t a = 0; a < size; ++a)
              for (int64_t b = 0; b < size; ++b) {
                const int64_t row = p * stride + a - pad, column = q * stride + b - pad;
                if (row < 0 || row >= h || column < 0 || column >= w) continue;
                f(static_cast<size_t>(((i * oh() + p) * ow() + q) * c + k),
                  static_cast<size_t>(((i * h + row) * w + column) * c + k), a * size + b);
              }
  }
};

struct MaxPool {
  Values y;
  std::vector<int64_t> argmax;
};
inline MaxPool max_pool_forward(const Pool& g, const Values& x) {
  MaxPool r{Values(static_cast<size_t>(g.y_size())),
            std::vector<int64_t>(static_cast<size_t>(g.y_size()), -1)};
  g.for_each_tap([&](size_t yi, size_t xi, int64_t position) {
    const bool first = r.argmax[yi] < 0;
    if (first || x[xi] > r.y[yi] || (std::isnan(x[xi]) && !std::isnan(r.y[yi]))) {
      r.y[yi] = x[xi];
      r.argmax[yi] = position;
    }
  });
  return r;
}
inline Sums max_pool_backward(const Pool& g, const Values& dy, const std::vector<int64_t>& argmax) {
  Sums dx(g.n * g.h * g.w * g.c);
  g.for_each_tap([&](size_t yi, size_t xi, int64_t position) {
    if (argmax[yi] == position) dx.add(static_cast<int64_t>(xi), dy[yi]);
  });
  return dx;
}

/// y [N, C] of x [N, S, C]
inline Sums global_mean(int64_t n, int64_t s, int64_t c, const Values& x) {
  Sums y(n * c);
  for (int64_t i = 0; i < n * s * c; ++i)
    y.add(i / (s * c) * c + i % c, x[static_cast<size_t>(i)] / static_cast<double>(s));
  return y;
}
inline MaxPool global_max(int64_t n, int64_t s, int64_t c, const Values& x) {
  MaxPool r{Values(static_cast<size_t>(n * c)),
            std::vector<int64_t>(static_cast<size_t>(n * c), -1)};
  for (int64_t i = 0; i < n; ++i)
    for (int64_t p = 0; p < s; ++p)
      for (int64_t k = 0; k < c; ++k) {
        const double v = x[static_cast<size_t>((i * s + p) * c + k)];
        const auto yi = static_cast<size_t>(i * c + k);
        if (r.argmax[yi] < 0 || v > r.y[yi]) r.y[yi] = v, r.argmax[yi] = p;
      }
  return r;
}

}  // namespace reference
