// How norms that read once spread x over the multiprocessors of a GPU. Plain C++: what fits where
// can be said without one.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>

#include "kernels/norm.hpp"

namespace passnorm::kernels {

/// What a device keeps on its chip.
struct Chip {
  int64_t multiprocessors;
  int64_t shared_bytes;  ///< that one block may have
};

/// A slab is what one block of the grid keeps: some rows of a block of x, of a tile of channels.
/// Its threads are [rows][columns], columns fastest, each with a chunk of neighbouring channels;
/// they stride over the rows of all parts, and over the columns of a group that is wider than the
/// block. Blocks of the grid are [B][parts][tiles], tiles fastest.
struct NormSlabs {
  int64_t tiles, parts;   ///< of the channels; of the rows of a block of x
  int64_t tile_groups;    ///< whole groups, a power of two; the last tile may have fewer
  int64_t columns, rows;  ///< threads, powers of two: at least tile_groups, and a warp
  int64_t chunks;         ///< that a thread keeps of each tensor, at most
  int64_t bytes;          ///< of shared memory for all of them

  /// Blocks that share rows have to meet.
  bool cooperative() const { return parts > 1; }
};

/// Shared memory of the kernels beside their slabs.
inline constexpr int64_t kSlabOverhead = 10 << 10;

/// Empty: the slabs do not fit. width: channels of a chunk, which divides those of a group or
/// stands for as many groups; line: columns of a full tile, a power of two; tensors: of x's size
/// that are kept; threads: of a block at most, a power of two. One block to a multiprocessor, so
/// that those that have to meet are all there.
inline std::optional<NormSlabs> norm_slabs(const NormGeometry& g, int64_t element_bytes,
                                           int64_t width, int64_t line, int64_t tensors,
                                           int64_t threads, const Chip& chip) {
  const auto ceil_div = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const auto floor2 = [](int64_t n) {
    return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n)));
  };
  const auto ceil2 = [](int64_t n) {
    return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n)));
  };
  constexpr int64_t kWarp = 32, kGridLimit = 65535;
  if (g.rows >= 1 << 30 || g.channels >= 1 << 30 || g.blocks > kGridLimit) return {};
  const int64_t group_width = g.channels / g.groups;
  NormSlabs s;
  s.tile_groups =
      std::min(floor2(std::max<int64_t>(1, line * width / group_width)), ceil2(g.groups));
  s.tiles = ceil_div(g.groups, s.tile_groups);
  const int64_t tile_chunks = ceil_div(std::min(g.channels, s.tile_groups * group_width), width);
  s.columns = std::min(line, ceil2(tile_chunks));
  const int64_t least_rows = std::max(kWarp, s.tile_groups) / s.columns;
  s.parts = std::clamp<int64_t>(chip.multiprocessors / (s.tiles * g.blocks), 1,
                                ceil_div(g.rows, least_rows));
  s.rows = std::clamp(ceil2(ceil_div(g.rows, s.parts)), least_rows, threads / s.columns);
  s.chunks = ceil_div(tile_chunks, s.columns) * ceil_div(g.rows, s.rows * s.parts);
  s.bytes = s.chunks * s.columns * s.rows * width * element_bytes * tensors;
  if (s.bytes + kSlabOverhead > chip.shared_bytes) return {};
  return s;
}

}  // namespace passnorm::kernels
