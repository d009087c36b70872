// Sites and gates for the kernels of kernels/passport.hpp, with their data.
#pragma once

#include <array>
#include <vector>

#include "kernels/passport.hpp"
#include "tests/support/buffer.hpp"
#include "tests/support/fill.hpp"

namespace passnorm::test {

/// Part [begin, begin + n) of a buffer, as a buffer.
inline Buffer part(const Buffer& all, int64_t begin, int64_t n) {
  const std::vector<double> v = all.values();
  return Buffer(all.dtype(), std::vector<double>(v.begin() + begin, v.begin() + begin + n));
}

/// A group of sites: their data, and where they stand in the raw vector (not in order, with a gap
/// between).
struct Group {
  struct Size {
    int64_t o, k;
    bool bias;
  };
  std::vector<Size> sizes;
  std::vector<Buffer> w, bias, m;
  std::vector<kernels::PassportSite> sites;
  int64_t total = 0;
  static constexpr int64_t kGap = 3;

  explicit Group(std::vector<Size> s) : sizes(std::move(s)), sites(sizes.size()) {
    for (uint32_t i = 0; i < sizes.size(); ++i) {
      w.emplace_back(DType::kF32, uniform(sizes[i].o * sizes[i].k, 10 + i));
      bias.emplace_back(DType::kF32, uniform(sizes[i].bias ? sizes[i].o : 0, 20 + i));
      m.emplace_back(DType::kF32, uniform(2 * sizes[i].k, 30 + i));
    }
    for (size_t i = sizes.size(); i-- > 0;) {
      sites[i] = {.channels = sizes[i].o,
                  .window = sizes[i].k,
                  .w = w[i].read_as<float>().data(),
                  .bias = bias[i].read_as<float>().data(),
                  .m = m[i].read_as<float>().data(),
                  .offset = total};
      total += 2 * sizes[i].o + kGap;
    }
  }
};
/// Gates of several sites.
struct Gates {
  std::vector<std::array<int64_t, 2>> sizes{
      {4, 1}, {33, 8}, {64, 16}, {40, 10}, {512, 128}};  // C, hidden
  std::vector<Buffer> a1, a2;
  std::vector<kernels::GateSite> sites;
  int64_t total = 0, hidden_total = 0;

  Gates() {
    for (uint32_t i = 0; i < sizes.size(); ++i) {
      const auto [c, h] = sizes[i];
      a1.emplace_back(DType::kF32, uniform(h * c, 10 + i));
      a2.emplace_back(DType::kF32, uniform(c * h, 20 + i));
      sites.push_back({.channels = c,
                       .hidden = h,
                       .a1 = a1[i].read_as<float>().data(),
                       .a2 = a2[i].read_as<float>().data(),
                       .offset = total,
                       .hidden_offset = hidden_total});
      total += 2 * c;
      hidden_total += 2 * h;
    }
  }
};

}  // namespace passnorm::test
