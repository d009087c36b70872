// Trigger pictures of our own: abstract, of no class, and drawn from a key, so that they are free
// of anybody's rights and can be drawn again.
//
// Picture i of key k, side s. With the bytes b = the upper 8 bits of each word of
// keyed_stream_u32(k, "passnorm trigger picture v1", decimal i) (engine/io/crypto.hpp), taken one
// after another, colour plane c is a sum of smooth noise on three lattices,
//   p_c(y, x) = clamp(128 + 2 ((4 n_2 + 2 n_4 + n_8) / 7 - 128), 0, 255),
// n_g(y, x) the values b of a lattice of (g+1) x (g+1) points, g = 2, 4, 8 cells a side,
// interpolated between the four corners of the pixel's cell with the weight u^2 (3 - 2u) of its
// place u. All in integers, quotients rounded down: the same bytes on every machine.
#pragma once

#include "engine/io/crypto.hpp"
#include "train/data/dataset.hpp"
#include "train/data/image_file.hpp"

namespace passnorm::train {

inline constexpr int64_t kMinTriggerSide = 8, kMaxTriggerSide = 1024;

Picture draw_trigger(const Secret32& key, int64_t index, int64_t side);

/// Pictures of the same kind that are triggers of nobody, for networks that take `like`: its image
/// size (center_crop), classes and normalisation, labels 0. What a network answers on them is what
/// it answers on such pictures without knowing any. Their key follows from `seed`.
Dataset decoy_triggers(uint64_t seed, int64_t count, int64_t side, const Dataset& like);

}  // namespace passnorm::train
