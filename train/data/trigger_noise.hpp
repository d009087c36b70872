// Smooth noise on a square: what trigger pictures and trigger clouds are made of.
//
// Three lattices have (g+1) x (g+1) points, g = 2, 4, 8 cells a side, and a byte at every point,
// taken one after another. At the place (y, x) of a square of side s
//   noise = 4 n_2(y, x) + 2 n_4(y, x) + n_8(y, x),   from 0 to 7 * 255,
// n_g the bytes of lattice g interpolated between the four corners of the place's cell, with the
// weight u^2 (3 - 2u) of its place u in the cell. In integers of B fractional bits, quotients
// rounded down: the same on every machine.
#pragma once

#include <cstdint>
#include <span>

namespace passnorm::train {

inline constexpr int64_t kNoiseBytes = 3 * 3 + 5 * 5 + 9 * 9;

/// 2^B noise at (y, x), both in [0, side); side below 2^20, B at most 16.
template <int kBits>
int64_t smooth_noise(std::span<const uint8_t> bytes, int64_t y, int64_t x, int64_t side) {
  constexpr int64_t kOne = int64_t{1} << kBits;
  struct Place {
    int64_t cell, weight;
  };
  const auto place = [side](int64_t at, int64_t cells) {
    const int64_t in_cells = at * cells * kOne / side, u = in_cells % kOne;
    return Place{in_cells / kOne, u * u * (3 * kOne - 2 * u) >> 2 * kBits};
  };
  int64_t sum = 0, weight = 4;
  for (const int64_t cells : {2, 4, 8}) {
    const Place v = place(y, cells), u = place(x, cells);
    const auto row = [&](int64_t number) {
      const uint8_t* const at = bytes.data() + number * (cells + 1) + u.cell;
      return at[0] * (kOne - u.weight) + at[1] * u.weight;
    };
    const int64_t above = row(v.cell), below = row(v.cell + 1);
    sum += weight * ((above * (kOne - v.weight) + below * v.weight) >> kBits);
    weight /= 2;
    bytes = bytes.subspan(static_cast<size_t>((cells + 1) * (cells + 1)));
  }
  return sum;
}

}  // namespace passnorm::train
