// Trigger pictures of our own: abstract, of no class, and drawn from a key, so that they are free
// of anybody's rights and can be drawn again.
//
// Picture i of key k, side s, has in colour plane c the smooth noise of trigger_noise.hpp (B = 8)
// with more contrast:
//   p_c(y, x) = clamp(2 floor(noise_c(y, x) / 7) - 128, 0, 255)
// The lattices' bytes are the upper 8 bits of the words of keyed_stream_u32(k, "passnorm trigger
// picture v1", decimal i) (engine/io/crypto.hpp), taken one after another.
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
