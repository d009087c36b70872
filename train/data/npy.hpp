// Arrays of numpy's .npy files
// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace passnorm::train {

inline constexpr int64_t kMaxPoints = 1 << 20;  ///< of a cloud

/// The first three columns of the first `points` rows, [points, 3], of an array of little-endian
/// f32 or f64 in C order with at least as many rows and columns: x, y, z of a cloud. points 0: all
/// rows. Error(kInput), one line that starts with `name`: another format version, type, order or
/// shape, a header that is not numpy's, fewer or more bytes than the shape says, a coordinate that
/// is not finite (as f32).
std::vector<float> decode_npy_cloud(std::string_view name, std::span<const std::byte> bytes,
                                    int64_t points);

/// A file of version 1.0 with the array [points, 3] of f32, as numpy.save writes it.
std::vector<std::byte> encode_npy_cloud(std::span<const float> cloud);

}  // namespace passnorm::train
