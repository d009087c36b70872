// Convolution, channels last, from its definition: one loop over every tap, used three ways.
#pragma once

#include "tests/reference/sums.hpp"

namespace reference {

struct Conv {
  int64_t n = 1, h = 1, w = 1, c = 1, o = 1, kh = 1, kw = 1, stride = 1, pad = 0;

  int64_t oh() const { return (h + 2 * pad - kh) / stride + 1; }
  int64_t ow() const { return (w + 2 * pad - kw) / stride + 1; }

  /// f(x index, w index, y index) for every product of the convolution that does not meet padding.
  template <class F>
  void for_each_tap(F&& f) const {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t p = 0; p < oh(); ++p)
        for (int64_t q = 0; q < ow(); ++q)
          for (int64_t a = 0; a < kh; ++a)
            for (int64_t b = 0; b < kw; ++b) {
              const int64_t row = p * stride + a - pad, column = q * stride + b - pad;
              if (row < 0 || row >= h || column < 0 || column >= w) continue;
              for (int64_t m = 0; m < o; ++m)
                for (int64_t k = 0; k < c; ++k)
                  f(((i * h + row) * w + column) * c + k, ((m * kh + a) * kw + b) * c + k,
                    ((i * oh() + p) * ow() + q) * o + m);
            }
  }
};

/// y [N, OH, OW, O]; bias [O] or empty.
inline Sums conv_forward(const Conv& g, const Values& x, const Values& w, const Values& bias) {
  Sums y(g.n * g.oh() * g.ow() * g.o);
  g.for_each_tap([&](int64_t xi, int64_t wi, int64_t yi) {
    y.add(yi, x[static_cast<size_t>(xi)] * w[static_cast<size_t>(wi)]);
  });
  if (!bias.empty())
    for (int64_t i = 0; i < y.size(); ++i) y.add(i, bias[static_cast<size_t>(i % g.o)]);
  return y;
}

/// dx [N, H, W, C]
inline Sums conv_backward_data(const Conv& g, const Values& dy, const Values& w) {
  Sums dx(g.n * g.h * g.w * g.c);
  g.for_each_tap([&](int64_t xi, int64_t wi, int64_t yi) {
    dx.add(xi, dy[static_cast<size_t>(yi)] * w[static_cast<size_t>(wi)]);
  });
  return dx;
}

/// dw [O, KH, KW, C]
inline Sums conv_backward_weight(const Conv& g, const Values& x, const Values& dy) {
  Sums dw(g.o * g.kh * g.kw * g.c);
  g.for_each_tap([&](int64_t xi, int64_t wi, int64_t yi) {
    dw.add(wi, x[static_cast<size_t>(xi)] * dy[static_cast<size_t>(yi)]);
  });
  return dw;
}

/// dbias [O]
inline Sums conv_backward_bias(const Conv& g, const Values& dy) {
  Sums dbias(g.o);
  for (size_t i = 0; i < dy.size(); ++i) dbias.add(static_cast<int64_t>(i) % g.o, dy[i]);
  return dbias;
}

}  // namespace reference
