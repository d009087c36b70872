// What the normalisation kernels share: how work is split, and the affine as one multiply-add.
#pragma once

#include <algorithm>

#include "kernels/norm.hpp"

namespace passnorm::kernels {

/// Parts of a block that are reduced separately. By sizes only, so that sums do not depend on the
/// number of threads; 64 rows or more each, so that the partial sums stay small beside the rows.
inline int64_t norm_chunks(const NormGeometry& g) {
  return std::clamp<int64_t>(std::min(g.rows * g.channels >> 15, g.rows >> 6), 1, 128);
}

/// The lane of the rows of a block; in a fork every row has both, and `fork_lane` says which is
/// meant. Args: NormApply or NormBackward.
template <class Args>
int lane_of(const Args& a, int64_t block, int fork_lane) {
  if (a.fork) return fork_lane;
  return a.lanes == 2 && block >= a.geometry.blocks / 2 ? 1 : 0;
}

/// multiplier and addend [C] of a block: scale xhat + shift = multiplier x + addend. Not inline,
/// and so the same bits in apply and in backward, which must see the same sign.
void norm_coefficients(const NormGeometry& g, const NormLane& lane, int64_t block,
                       float* multiplier, float* addend);

/// A value per group [G] of one block as a value per channel [C].
void spread_groups(const NormGeometry& g, const float* groups, float* channels);

/// Calls f(block, first, last) for the parts of rows [first, last) that lie in one block.
template <class F>
void for_blocks(const NormGeometry& g, int64_t first, int64_t last, F&& f) {
  while (first < last) {
    const int64_t block = first / g.rows;
    const int64_t end = std::min(last, (block + 1) * g.rows);
    f(block, first, end);
    first = end;
  }
}

/// Rows summed in f32 before the sums go on in f64.
inline constexpr int64_t kFlushRows = 512;

/// Elements of a tile: it stays in a core's own cache, and is the least work worth a thread.
inline constexpr int64_t kTile = 16384;
inline int64_t tile_rows(const NormGeometry& g) { return std::max<int64_t>(1, kTile / g.channels); }

/// The fewest chunks worth a thread.
inline int64_t chunk_grain(const NormGeometry& g, int64_t chunks) {
  return std::max<int64_t>(1, kTile * chunks / (g.rows * g.channels));
}

/// Calls f(part, block, first, last) for rows [begin, end) of each of `parts` equal parts of x.
/// Tiles run from the last to the first, since the reduction before has just read the rows from
/// first to last; the parts of a tile one after another, since they may share rows of a residual.
template <class F>
void for_tiles(const NormGeometry& g, int64_t parts, int64_t begin, int64_t end, F&& f) {
  const int64_t part_rows = g.blocks * g.rows / parts;
  while (begin < end) {
    const int64_t first = std::max(begin, end - tile_rows(g));
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t offset = part * part_rows;
      for_blocks(g, offset + first, offset + end,
                 [&](int64_t block, int64_t r0, int64_t r1) { f(part, block, r0, r1); });
    }
    end = first;
  }
}

/// Calls f(block, first, last) for the groups of each block among statistics [first, last).
template <class F>
void for_groups(const NormGeometry& g, int64_t first, int64_t last, F&& f) {
  while (first < last) {
    const int64_t block = first / g.groups;
    const int64_t end = std::min(last, (block + 1) * g.groups);
    f(block, first - block * g.groups, end - block * g.groups);
    first = end;
  }
}

}  // namespace passnorm::kernels
