// Normalisation from its definition: an element belongs to a set of elements that share a mean and
// a variance. Which set, and which lane's affine, is worked out element by element.
#pragma once

#include <algorithm>
#include <array>

#include "tests/reference/sums.hpp"

namespace reference {

enum class Kind { kBatch, kGroup, kInstance, kLayer };
enum class Activation { kIdentity, kRelu, kReluThenAdd };

/// x [n, s, c]: samples, positions, channels.
struct Norm {
  Kind kind = Kind::kBatch;
  int64_t n = 1, s = 1, c = 1;
  int64_t parts = 1;   ///< the samples of x are in `parts` equal consecutive parts with batch
                       ///< statistics of their own
  int64_t groups = 1;  ///< per sample, of kGroup
  int64_t lanes = 1;   ///< affines: 2 with fork: y is twice x; 2 without: the second half of the
                       ///< samples uses the second
  bool fork = false;

  int64_t set_of(int64_t sample, int64_t channel) const {
    switch (kind) {
      case Kind::kBatch:
        return sample / (n / parts) * c + channel;  // over the part's samples and all positions
      case Kind::kGroup:
        return sample * groups + channel / (c / groups);  // over neighbouring channels of a sample
      case Kind::kInstance:
        return sample * c + channel;  // over the positions of a sample
      case Kind::kLayer:
        return sample;  // over everything of a sample
    }
    return 0;
  }
  int64_t sets() const { return set_of(n - 1, c - 1) + 1; }
  int64_t y_samples() const { return fork ? 2 * n : n; }
  int64_t x_size() const { return n * s * c; }
  int64_t y_size() const { return y_samples() * s * c; }

  /// f(y index, x index, set, lane, channel) for every element of y.
  template <class F>
  void for_each_result(F&& f) const {
    for (int64_t j = 0; j < y_samples(); ++j) {
      const int64_t sample = fork ? j % n : j;
      const int64_t lane = lanes == 1 ? 0 : j / (y_samples() / 2);
      for (int64_t p = 0; p < s; ++p)
        for (int64_t k = 0; k < c; ++k)
          f(static_cast<size_t>((j * s + p) * c + k), static_cast<size_t>((sample * s + p) * c + k),
            static_cast<size_t>(set_of(sample, k)), static_cast<size_t>(lane),
            static_cast<size_t>(k));
    }
  }
};

/// Two-pass statistics. `magnitude` of mean and var is that of shifted sums with the worst shift
/// among the data.
struct Statistics {
  Values mean, mean_magnitude, var, var_magnitude, count;
};
inline Statistics norm_statistics(const Norm& g, const Values& x) {
  const auto sets = static_cast<size_t>(g.sets());
  Statistics r{Values(sets), Values(sets), Values(sets), Values(sets), Values(sets)};
  Norm plain = g;
  plain.fork = false;
  plain.for_each_result([&](size_t, size_t xi, size_t set, size_t, size_t) {
    r.count[set] += 1, r.mean[set] += x[xi];
  });
  for (size_t k = 0; k < sets; ++k) r.mean[k] /= r.count[k];
  Values farthest(sets);
  plain.for_each_result([&](size_t, size_t xi, size_t set, size_t, size_t) {
    farthest[set] = std::max(farthest[set], std::abs(x[xi] - r.mean[set]));
  });
  plain.for_each_result([&](size_t, size_t xi, size_t set, size_t, size_t) {
    const double d = x[xi] - r.mean[set], shifted = std::abs(d) + farthest[set];
    r.var[set] += d * d / r.count[set];
    r.mean_magnitude[set] += shifted / r.count[set];
    r.var_magnitude[set] += shifted * shifted / r.count[set];
  });
  return r;
}

struct Affine {
  Values mean, rstd;    ///< per set
  Values scale, shift;  ///< per channel, or empty: 1 and 0
};
using Affines = std::array<Affine, 2>;

/// scale xhat + shift of one element, before residual and activation.
struct PreActivation {
  double xhat, xhat_magnitude, scale, u, u_magnitude;
};
inline PreActivation pre_activation(const Affine& a, double x, size_t set, size_t channel) {
  PreActivation r{};
  const double shift = a.shift.empty() ? 0 : a.shift[channel];
  r.scale = a.scale.empty() ? 1 : a.scale[channel];
  r.xhat = (x - a.mean[set]) * a.rstd[set];
  r.xhat_magnitude = (std::abs(x) + std::abs(a.mean[set])) * a.rstd[set];
  r.u = r.scale * r.xhat + shift;
  r.u_magnitude = std::abs(r.scale) * r.xhat_magnitude + std::abs(shift);
  return r;
}

/// residual: empty, as long as y, or half as long (both lanes read the same).
inline Sums norm_apply(const Norm& g, Activation activation, const Values& x,
                       const Values& residual, const Affines& lane) {
  Sums y(g.y_size());
  g.for_each_result([&](size_t yi, size_t xi, size_t set, size_t l, size_t channel) {
    const PreActivation e = pre_activation(lane[l], x[xi], set, channel);
    const double r = residual.empty() ? 0 : residual[yi % residual.size()];
    double value = 0;
    switch (activation) {
      case Activation::kIdentity:
        value = e.u + r;
        break;
      case Activation::kRelu:
        value = std::max(0.0, e.u + r);
        break;
      case Activation::kReluThenAdd:
        value = std::max(0.0, e.u) + r;
        break;
    }
    y.add(static_cast<int64_t>(yi), value, e.u_magnitude + std::abs(r));
  });
  return y;
}

/// The residual is the result of a norm of its own: `shortcut`, of s, before any activation.
inline Sums norm_apply(const Norm& g, Activation activation, const Values& x, const Affines& lane,
                       const Norm& shortcut, const Values& s, const Affines& shortcut_lane) {
  const Sums residual = norm_apply(shortcut, Activation::kIdentity, s, {}, shortcut_lane);
  Sums y = norm_apply(g, activation, x, residual.value, lane);
  for (size_t i = 0; i < y.magnitude.size(); ++i)
    y.magnitude[i] += residual.magnitude[i % residual.magnitude.size()];
  return y;
}

struct NormGradients {
  Sums dx;
  std::array<Sums, 2> dscale, dshift;
  Sums dresidual;
};

/// The gradient of sum(y dy). y decides where relu(u + residual) lets through; fixed: mean and rstd
/// do not depend on x.
inline NormGradients norm_backward(const Norm& g, Activation activation, bool fixed,
                                   const Values& x, const Values& y, const Values& dy,
                                   int64_t residual_size, const Affines& lane) {
  NormGradients r{
      Sums(g.x_size()), {Sums(g.c), Sums(g.c)}, {Sums(g.c), Sums(g.c)}, Sums(residual_size)};
  Values count(static_cast<size_t>(g.sets()));
  Sums s1(g.sets()), s2(g.sets());
  const auto masked = [&](const PreActivation& e, size_t yi) {
    if (activation == Activation::kIdentity) return dy[yi];
    const bool passes = activation == Activation::kRelu && residual_size > 0 ? y[yi] > 0 : e.u > 0;
    return passes ? dy[yi] : 0.0;
  };
  g.for_each_result([&](size_t yi, size_t xi, size_t set, size_t l, size_t channel) {
    const PreActivation e = pre_activation(lane[l], x[xi], set, channel);
    const double d = masked(e, yi), rstd = lane[l].rstd[set];
    r.dscale[l].add(static_cast<int64_t>(channel), d * e.xhat, std::abs(d) * e.xhat_magnitude);
    r.dshift[l].add(static_cast<int64_t>(channel), d);
    if (residual_size > 0)
      r.dresidual.add(static_cast<int64_t>(yi) % residual_size,
                      activation == Activation::kReluThenAdd ? dy[yi] : d);
    r.dx.add(static_cast<int64_t>(xi), rstd * e.scale * d);
    s1.add(static_cast<int64_t>(set), e.scale * d);
    s2.add(static_cast<int64_t>(set), e.scale * d * e.xhat,
           std::abs(e.scale * d) * e.xhat_magnitude);
    if (!g.fork || l == 0) count[set] += 1;
  });
  if (fixed) return r;
  g.for_each_result([&](size_t, size_t xi, size_t set, size_t l, size_t channel) {
    if (g.fork && l == 1) return;  // the statistics' share is subtracted once per element of x
    const PreActivation e = pre_activation(lane[l], x[xi], set, channel);
    const double factor = lane[l].rstd[set] / count[set];
    r.dx.add(static_cast<int64_t>(xi), -factor * (s1.value[set] + e.xhat * s2.value[set]),
             factor * (s1.magnitude[set] + e.xhat_magnitude * s2.magnitude[set]));
  });
  return r;
}

/// (1 - momentum) running + momentum batch, elementwise.
inline Sums running_average(const Values& running, const Values& batch, double momentum) {
  Sums r(static_cast<int64_t>(running.size()));
  for (size_t i = 0; i < running.size(); ++i) {
    r.add(static_cast<int64_t>(i), (1 - momentum) * running[i]);
    r.add(static_cast<int64_t>(i), momentum * batch[i]);
  }
  return r;
}

}  // namespace reference
