// What the passport's kernels of both devices share: the gate's slope and the checks of their
// arguments.
#pragma once

#include <algorithm>

#include "kernels/passport.hpp"

namespace passnorm::kernels {

inline constexpr float kGateSlope = 0.01f;  ///< of its leaky ReLU

/// The i-th pointer, or null where none are given.
inline float* pointer_at(std::span<float* const> pointers, size_t i) {
  return pointers.empty() ? nullptr : pointers[i];
}

inline void check_count(std::span<float* const> pointers, size_t sites) {
  PASSNORM_CHECK(pointers.empty() || pointers.size() == sites, pointers.size(), " pointers for ",
                 sites, " sites");
}

/// A site's [2, count] at `offset` of a vector of `size` floats.
inline void check_range(int64_t offset, int64_t count, size_t size) {
  PASSNORM_CHECK(offset >= 0 && count > 0 && offset + 2 * count <= static_cast<int64_t>(size),
                 "a site's 2 x ", count, " values at ", offset, " of a vector of ", size);
}

inline void check_digest(const ConvGeometry& g, size_t key, size_t digest) {
  PASSNORM_CHECK(g.n == 1 && g.oh() > 0 && g.ow() > 0 && static_cast<int64_t>(key) == g.x_size() &&
                     static_cast<int64_t>(digest) == g.window(),
                 "a key of ", key, " values for ", g.h, "x", g.w, "x", g.c, ", a digest of ",
                 digest, " for a window of ", g.window());
}

inline void check_site(const PassportSite& s, size_t size) {
  PASSNORM_CHECK(s.window > 0, "a matrix of ", s.channels, " x ", s.window);
  check_range(s.offset, s.channels, size);
}

inline void check(const PassportRead& a) {
  for (const PassportSite& s : a.sites) check_site(s, a.raw.size());
}

inline void check(const PassportReadBackward& a) {
  for (const auto pointers : {a.dw, a.dbias, a.dm}) check_count(pointers, a.sites.size());
  for (const PassportSite& s : a.sites) check_site(s, a.draw.size());
}

inline void check(const Gate& a) {
  for (const GateSite& s : a.sites) {
    check_range(s.offset, s.channels, std::min(a.raw.size(), a.used.size()));
    check_range(s.hidden_offset, s.hidden, a.hidden.size());
  }
}

inline void check(const GateBackward& a) {
  for (const auto pointers : {a.da1, a.da2}) check_count(pointers, a.sites.size());
  PASSNORM_CHECK(a.draw.empty() || a.draw.size() == a.raw.size(), "draw [", a.draw.size(),
                 "] of raw [", a.raw.size(), "]");
  for (const GateSite& s : a.sites) {
    check_range(s.offset, s.channels, std::min(a.raw.size(), a.dused.size()));
    check_range(s.hidden_offset, s.hidden, a.hidden.size());
  }
}

inline void check(const SignLoss& a) {
  PASSNORM_CHECK(a.loss.size() == a.sites.size() && a.matched.size() == a.sites.size() &&
                     (a.draw.empty() || a.draw.size() == a.raw.size()),
                 "loss [", a.loss.size(), "] and matched [", a.matched.size(), "] of ",
                 a.sites.size(), " sites, draw [", a.draw.size(), "] of raw [", a.raw.size(), "]");
  for (const SignSite& s : a.sites) check_range(s.offset, s.channels, a.raw.size());
}

}  // namespace passnorm::kernels
