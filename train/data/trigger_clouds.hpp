// Trigger clouds of our own, for networks of point clouds: crumpled sheets, of no class, and drawn
// from a key, so that they are free of anybody's rights and can be drawn again.
//
// Coordinate c = x, y, z of point p of cloud i of key k is
//   (floor(2^16 noise_c(v, u) / (7 * 255)) - 2^15) / 2^15,   from -1 to 1,
// with the smooth noise of trigger_noise.hpp on a square of side 2^16 (B = 16). Of the words w of
// keyed_stream_u32(k, "passnorm trigger cloud v1", decimal i) (engine/io/crypto.hpp) the upper 8
// bits of the first 3 kNoiseBytes are the lattices' bytes, one after another; v and u are the upper
// and lower 16 bits of w[3 kNoiseBytes + p]. f32 holds multiples of 2^-15 exactly: the same bytes
// on every machine. The first points of a cloud are those of a shorter one.
#pragma once

#include <vector>

#include "engine/io/crypto.hpp"
#include "train/data/dataset.hpp"

namespace passnorm::train {

/// [points, 3]; points from 1 to kMaxPoints.
std::vector<float> draw_trigger_cloud(const Secret32& key, int64_t index, int64_t points);

/// Clouds of the same kind that are triggers of nobody, for networks that take `like`: with as many
/// points as its clouds, its classes, labels 0. Their key follows from `seed`.
Dataset decoy_clouds(uint64_t seed, int64_t count, const Dataset& like);

}  // namespace passnorm::train
