// Everything that only a passport's owner has, for SecretScan.
#pragma once

#include "engine/passport/pass.hpp"
#include "tests/support/secret_scan.hpp"

namespace passnorm::test {

inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Axes of [a, b, c] in another order: out[i] runs over axis order[0] slowest.
inline std::vector<float> transposed(std::span<const float> values, std::array<int64_t, 3> size,
                                     std::array<size_t, 3> order) {
  const std::array<int64_t, 3> stride = {size[1] * size[2], size[2], 1};
  std::vector<float> out;
  out.reserve(values.size());
  for (int64_t i = 0; i < size[order[0]]; ++i)
    for (int64_t j = 0; j < size[order[1]]; ++j)
      for (int64_t k = 0; k < size[order[2]]; ++k)
        out.push_back(values[static_cast<size_t>(i * stride[order[0]] + j * stride[order[1]] +
                                                 k * stride[order[2]])]);
  return out;
}

/// A tensor in each order of its axes.
inline void add_tensor(SecretScan& scan, const std::string& what, std::span<const float> values,
                       std::array<int64_t, 3> size) {
  std::set<std::vector<float>> seen;
  for (const auto& order : std::vector<std::array<size_t, 3>>{
           {0, 1, 2}, {0, 2, 1}, {1, 2, 0}, {2, 1, 0}, {1, 0, 2}, {2, 0, 1}})
    if (auto v = transposed(values, size, order); seen.insert(v).second) scan.add_numbers(what, v);
}

/// Seed, keys, digests, bits, gate weights and statistics of the passport lane, and the text.
/// `known` tells which tensors of the lane are no secret.
inline void add_secrets(SecretScan& scan, const Passport& passport,
                        const std::set<std::string>& known = {}) {
  if (passport.source() == Passport::Source::kRandom)
    scan.add_bytes("seed", as_text(std::as_bytes(passport.seed().bytes())));
  if (!passport.signature().text.empty()) scan.add_bytes("signature", passport.signature().text);
  CpuStream stream(1);
  std::vector<Site> sites;
  for (const SitePassport& s : passport.sites()) sites.push_back(s.site);
  const OpenPassport open(stream, passport, sites);
  for (size_t i = 0; i < sites.size(); ++i) {
    const SitePassport& s = passport.sites()[i];
    const kernels::ConvGeometry& g = s.site.geometry;
    add_tensor(scan, s.site.name + " scale key", s.scale_key, {g.c, g.h, g.w});
    add_tensor(scan, s.site.name + " shift key", s.shift_key, {g.c, g.h, g.w});
    scan.add_bits(s.site.name + " bits", s.bits);
    const Var& digest = open.digest(i);
    const std::vector<float> both = digest.value.to_host(stream);
    for (const size_t half : {0, 1})
      add_tensor(scan, s.site.name + " digest",
                 std::span(both).subspan(half * both.size() / 2, both.size() / 2),
                 {g.kh, g.kw, g.c});
  }
  for (const OwnedTensor& t : passport.lane_state) {
    if (known.contains(t.name)) continue;
    const auto rows = t.shape.empty() ? 1 : t.shape[0];
    add_tensor(scan, t.name, t.values, {rows, static_cast<int64_t>(t.values.size()) / rows, 1});
  }
}

}  // namespace passnorm::test
