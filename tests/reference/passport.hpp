// The passport's arithmetic from its definitions.
#pragma once

#include "tests/reference/convolution.hpp"

namespace reference {

/// The raw scales by definition: mean over positions of conv(key, w)[o].
inline Values raw_scale_by_convolution(const Conv& g, const Values& key, const Values& w) {
  const Sums y = conv_forward(g, key, w, {});
  Values mean(static_cast<size_t>(g.o));
  const double positions = static_cast<double>(g.oh() * g.ow());
  for (size_t i = 0; i < y.value.size(); ++i) mean[i % mean.size()] += y.value[i] / positions;
  return mean;
}

/// digest [KH, KW, C] of key [H, W, C]: the mean window.
inline Sums digest(const Conv& g, const Values& key) {
  Sums d(g.kh * g.kw * g.c);
  Conv one = g;
  one.o = 1;
  const double positions = static_cast<double>(g.oh() * g.ow());
  one.for_each_tap([&](int64_t xi, int64_t wi, int64_t) {
    d.add(wi, key[static_cast<size_t>(xi)] / positions);
  });
  return d;
}

/// The adjoint: dkey [H, W, C].
inline Sums digest_backward(const Conv& g, const Values& ddigest) {
  Sums dkey(g.h * g.w * g.c);
  Conv one = g;
  one.o = 1;
  const double positions = static_cast<double>(g.oh() * g.ow());
  one.for_each_tap([&](int64_t xi, int64_t wi, int64_t) {
    dkey.add(xi, ddigest[static_cast<size_t>(wi)] / positions);
  });
  return dkey;
}

/// One site. raw [2, O] = (W m_gamma + bias, W m_beta + bias), m [2, K].
inline Sums passport_read(int64_t o, int64_t k, const Values& w, const Values& bias,
                          const Values& m) {
  Sums raw(2 * o);
  for (int64_t side = 0; side < 2; ++side)
    for (int64_t i = 0; i < o; ++i) {
      for (int64_t j = 0; j < k; ++j)
        raw.add(side * o + i,
                w[static_cast<size_t>(i * k + j)] * m[static_cast<size_t>(side * k + j)]);
      if (!bias.empty()) raw.add(side * o + i, bias[static_cast<size_t>(i)]);
    }
  return raw;
}

struct ReadGradients {
  Sums dw, dbias, dm;
};
inline ReadGradients passport_read_backward(int64_t o, int64_t k, const Values& w, const Values& m,
                                            const Values& draw) {
  ReadGradients r{Sums(o * k), Sums(o), Sums(2 * k)};
  for (int64_t side = 0; side < 2; ++side)
    for (int64_t i = 0; i < o; ++i) {
      const double d = draw[static_cast<size_t>(side * o + i)];
      r.dbias.add(i, d);
      for (int64_t j = 0; j < k; ++j) {
        r.dw.add(i * k + j, d * m[static_cast<size_t>(side * k + j)]);
        r.dm.add(side * k + j, d * w[static_cast<size_t>(i * k + j)]);
      }
    }
  return r;
}

/// One site of PAN's gate. hidden [2, H] = A1 raw, used [2, C] = A2 lrelu(hidden), slope 0.01.
struct GateResult {
  Sums hidden, used;
};
inline double lrelu(double v) { return v > 0 ? v : 0.01 * v; }
inline GateResult gate(int64_t c, int64_t hidden, const Values& a1, const Values& a2,
                       const Values& raw) {
  GateResult r{Sums(2 * hidden), Sums(2 * c)};
  for (int64_t side = 0; side < 2; ++side) {
    for (int64_t i = 0; i < hidden; ++i)
      for (int64_t j = 0; j < c; ++j)
        r.hidden.add(side * hidden + i,
                     a1[static_cast<size_t>(i * c + j)] * raw[static_cast<size_t>(side * c + j)]);
    for (int64_t i = 0; i < c; ++i)
      for (int64_t j = 0; j < hidden; ++j) {
        const double a = a2[static_cast<size_t>(i * hidden + j)];
        const auto h = static_cast<size_t>(side * hidden + j);
        r.used.add(side * c + i, a * lrelu(r.hidden.value[h]), std::abs(a) * r.hidden.magnitude[h]);
      }
  }
  return r;
}

struct GateGradients {
  Sums draw, da1, da2;
};
inline GateGradients gate_backward(int64_t c, int64_t hidden, const Values& a1, const Values& a2,
                                   const Values& raw, const Values& h, const Values& dused) {
  GateGradients r{Sums(2 * c), Sums(hidden * c), Sums(c * hidden)};
  for (int64_t side = 0; side < 2; ++side)
    for (int64_t i = 0; i < hidden; ++i) {
      const double hi = h[static_cast<size_t>(side * hidden + i)], slope = hi > 0 ? 1 : 0.01;
      double d = 0, d_magnitude = 0;
      for (int64_t j = 0; j < c; ++j) {
        const double u = dused[static_cast<size_t>(side * c + j)],
                     a = a2[static_cast<size_t>(j * hidden + i)];
        r.da2.add(j * hidden + i, u * lrelu(hi));
        d += slope * u * a;
        d_magnitude += slope * std::abs(u * a);
      }
      for (int64_t j = 0; j < c; ++j) {
        const double g = raw[static_cast<size_t>(side * c + j)],
                     a = a1[static_cast<size_t>(i * c + j)];
        r.da1.add(i * c + j, d * g, d_magnitude * std::abs(g));
        r.draw.add(side * c + j, d * a, d_magnitude * std::abs(a));
      }
    }
  return r;
}

/// One site: alpha sum max(0, margin - b g) + decay sum g^2 over the scales g [C].
struct SignLossResult {
  Sums loss{1};
  int64_t matched = 0;
  Sums draw;
};
inline SignLossResult sign_loss(const Values& g, const Values& bits, double alpha, double margin,
                                double decay) {
  SignLossResult r;
  r.draw = Sums(static_cast<int64_t>(g.size()));
  for (size_t i = 0; i < g.size(); ++i) {
    const double hinge = margin - bits[i] * g[i];
    if (hinge > 0) {
      r.loss.add(0, alpha * hinge, alpha * (margin + std::abs(g[i])));
      r.draw.add(static_cast<int64_t>(i), -alpha * bits[i]);
    }
    r.loss.add(0, decay * g[i] * g[i]);
    r.draw.add(static_cast<int64_t>(i), 2 * decay * g[i]);
    r.matched += g[i] * bits[i] > 0;
  }
  return r;
}

}  // namespace reference
