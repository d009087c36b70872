// Weights in fewer bits.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace passnorm::verify {

/// A form of a stored weight.
struct WeightFormat {
  std::string_view name;
  int bits = 0;           ///< of one weight
  int exponent_bits = 0;  ///< 0: an integer times the output channel's step
};
std::span<const WeightFormat> weight_formats();

/// Rounds w [outputs, ...], to nearest even, to what the format holds. Integers are symmetric:
///   w' = s clamp(round(w / s), -q, q),  q = 2^(bits - 1) - 1,  s = max |w[o]| / q
/// per output channel o. The same floats where s is zero or too small to divide by.
void round_weights(std::span<float> w, int64_t outputs, const WeightFormat& format);

}  // namespace passnorm::verify
