#include "train/data/trigger_pictures.hpp"

#include <algorithm>

#include "kernels/runtime/check.hpp"
#include "train/data/trigger_noise.hpp"

namespace passnorm::train {

Picture draw_trigger(const Secret32& key, int64_t index, int64_t side) {
  PASSNORM_CHECK(side >= kMinTriggerSide && side <= kMaxTriggerSide && index >= 0, "picture ",
                 index, " of side ", side);
  const auto words =
      keyed_stream_u32(key, "passnorm trigger picture v1", std::to_string(index), 3 * kNoiseBytes);
  std::vector<uint8_t> bytes;
  for (const uint32_t word : words) bytes.push_back(static_cast<uint8_t>(word >> 24));
  Picture picture{{side, side}, {}};
  for (int64_t y = 0; y < side; ++y)
    for (int64_t x = 0; x < side; ++x)
      for (size_t c = 0; c < 3; ++c) {
        const auto lattices = std::span(bytes).subspan(c * kNoiseBytes, kNoiseBytes);
        const int64_t mean = smooth_noise<8>(lattices, y, x, side) / (7 * 256);
        picture.rgb.push_back(static_cast<uint8_t>(std::clamp<int64_t>(2 * mean - 128, 0, 255)));
      }
  return picture;
}

Dataset decoy_triggers(uint64_t seed, int64_t count, int64_t side, const Dataset& like) {
  PASSNORM_CHECK(count > 0 && like.channels == 3, count, " pictures with ", like.channels,
                 " channels");
  Dataset set{.n = count,
              .h = like.h,
              .w = like.w,
              .classes = like.classes,
              .images = {},
              .labels = std::vector<int32_t>(static_cast<size_t>(count)),
              .class_names = like.class_names,
              .mean = like.mean,
              .stddev = like.stddev};
  const Secret32 key(hash256("passnorm decoy triggers v1", {seed}));
  for (int64_t i = 0; i < count; ++i)
    append_planes(center_crop(draw_trigger(key, i, side), {like.h, like.w}), set.images);
  return set;
}

}  // namespace passnorm::train
