// What the normalisation kernels share: how work is split, and the affine as one multiply-add.
#pragma once

#include <algorithm>

#include "kernels/norm.hpp"

namespace passnorm::kernels {

/// Parts of a block that are reduced separately. By sizes only, so that sums do not depend on the number of threads;
/// 64 rows or more each, so that the partial sums stay small beside the rows.
inline int64_t norm_chunks(const NormGeometry& g) {
  return std::clamp<int64_t>(std::min(g.rows * g.channels >> 15, g.rows >> 6), 1, 128);
}

/// Which lane the rows of a block belong to (no fork).
inline int lane_of(int64_t block, int64_t blocks, int lanes) { return lanes == 2 && block >= blocks / 2 ? 1 : 0; }

/// multiplier and addend [C] of a block: scale xhat + shift = multiplier x + addend. Not inline, and so the same bits in
/// apply and in backward, which must see the same sign.
void norm_coefficients(const NormGeometry& g, const NormLane& lane, int64_t block, float* multiplier, float* addend);

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

/// Throws unless sizes and types of one lane fit.
void check_lane(const NormGeometry& g, const NormLane& lane);

}  // namespace passnorm::kernels
