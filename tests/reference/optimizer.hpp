// SGD and Adam for one parameter, from their definitions, with the magnitudes that bound a step's
// rounding.
#pragma once

#include <cmath>
#include <cstdint>

namespace reference {

struct Sgd {
  double lr, momentum, weight_decay;
  bool nesterov;
};
struct SgdState {
  double w, buffer;
  double w_magnitude = 0, buffer_magnitude = 0;
};
inline SgdState sgd_step(const Sgd& a, SgdState s, double g, bool first) {
  const double d = g + a.weight_decay * s.w,
               d_magnitude = std::abs(g) + std::abs(a.weight_decay * s.w);
  const double before = first ? 0 : a.momentum * s.buffer;
  const double buffer = before + d, buffer_magnitude = std::abs(before) + d_magnitude;
  const double step = a.nesterov ? d + a.momentum * buffer : buffer;
  const double step_magnitude =
      a.nesterov ? d_magnitude + a.momentum * buffer_magnitude : buffer_magnitude;
  return {s.w - a.lr * step, buffer, std::abs(s.w) + a.lr * step_magnitude, buffer_magnitude};
}

struct Adam {
  double lr, beta1, beta2, eps, weight_decay;
};
struct AdamState {
  double w, m, v;
  double w_magnitude = 0, m_magnitude = 0, v_magnitude = 0;
};
inline AdamState adam_step(const Adam& a, AdamState s, double g, int64_t t) {
  const double d = g + a.weight_decay * s.w,
               d_magnitude = std::abs(g) + std::abs(a.weight_decay * s.w);
  AdamState r{};
  r.m = a.beta1 * s.m + (1 - a.beta1) * d;
  r.m_magnitude = a.beta1 * std::abs(s.m) + (1 - a.beta1) * d_magnitude;
  r.v = a.beta2 * s.v + (1 - a.beta2) * d * d;
  r.v_magnitude = a.beta2 * s.v + (1 - a.beta2) * d_magnitude * d_magnitude;
  const double c1 = 1 - std::pow(a.beta1, static_cast<double>(t)),
               c2 = 1 - std::pow(a.beta2, static_cast<double>(t));
  const double denominator = std::sqrt(r.v / c2) + a.eps, step = a.lr * (r.m / c1) / denominator;
  r.w = s.w - step;
  // d(m / sqrt v) = dm / sqrt v - m dv / (2 v^1.5)
  r.w_magnitude = std::abs(s.w) + a.lr * (r.m_magnitude / c1) / denominator +
                  (r.v > 0 ? std::abs(step) * (1 + r.v_magnitude / r.v) : 0);
  return r;
}

}  // namespace reference
