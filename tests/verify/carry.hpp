// Networks that are like trained ones in what claims are about, without having been trained.
#pragma once

#include "kernels/runtime/random.hpp"
#include "models/model.hpp"

namespace passnorm::test {

/// Raw scale of every site's channel, in order.
inline std::vector<float> raw_scales(const Model& model, const Passport& passport) {
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  const auto raw = model.read(tape, model.open(passport)).value.to_host(model.stream());
  std::vector<float> scales;
  size_t at = 0;
  for (const int64_t c : model.site_channels()) {
    scales.insert(scales.end(), raw.begin() + static_cast<int64_t>(at),
                  raw.begin() + static_cast<int64_t>(at) + c);
    at += 2 * static_cast<size_t>(c);
  }
  return scales;
}

/// Turns the kernels of outputs around so that all but the first `wrong` scales have the bit's
/// sign: what training does. A raw scale is linear in its output's kernel.
inline void carry(Model& model, const Passport& passport, int64_t wrong = 0) {
  const auto raw = raw_scales(model, passport);
  size_t at = 0;
  for (const SitePassport& site : passport.sites()) {
    const Parameter& p = *model.parameters().find(site.site.name + ".conv.weight");
    std::vector<float> w = p.var.value.to_host(model.stream());
    const size_t window = w.size() / site.bits.size();
    for (size_t c = 0; c < site.bits.size(); ++c, ++at) {
      const bool right = raw[at] * static_cast<float>(site.bits[c]) > 0;
      if (right == (static_cast<int64_t>(at) >= wrong)) continue;
      for (size_t k = 0; k < window; ++k) w[c * window + k] *= -1;
    }
    p.var.value.copy_from<float>(model.stream(), w);
  }
}

/// Gives the kernels of a site a direction that they share, as trained ones have.
inline void share_a_direction(Model& model) {
  uint32_t k = 0;
  for (const Site& site : model.sites()) {
    const Parameter& p = *model.parameters().find(site.name + ".conv.weight");
    std::vector<float> w = p.var.value.to_host(model.stream());
    const size_t window = w.size() / static_cast<size_t>(site.channels());
    const Random random(3, Purpose::kTest, ++k);
    for (size_t i = 0; i < w.size(); ++i)
      w[i] = 0.3f * w[i] + 0.05f * random.normal(i / window) * random.normal(100'000 + i % window);
    p.var.value.copy_from<float>(model.stream(), w);
  }
}

}  // namespace passnorm::test
