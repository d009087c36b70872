// What forgers start from who look for keys of their own with the genuine ones at hand.
#pragma once

#include "engine/passport/passport.hpp"

namespace passnorm::verify {

struct KeyNoise {
  bool near = true;           ///< around the genuine keys, else around zero
  double deviation = 1e-3;    ///< of the normal distribution
  bool one_for_both = false;  ///< a site's scale and shift key get the same numbers
};

/// The sites' keys with noise, a function of the seed; with the genuine passport's bits, given.
Passport with_noise(const Passport& genuine, const KeyNoise& noise, uint64_t seed);
/// Bits of which int(share C) of each site's C, at random places, are negated.
std::vector<std::vector<int8_t>> flipped_bits(const Passport& genuine, double share, uint64_t seed);

}  // namespace passnorm::verify
