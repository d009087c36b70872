#include "train/data/trigger_clouds.hpp"

#include <string>

#include "kernels/runtime/check.hpp"
#include "train/data/npy.hpp"
#include "train/data/trigger_noise.hpp"

namespace passnorm::train {

std::vector<float> draw_trigger_cloud(const Secret32& key, int64_t index, int64_t points) {
  PASSNORM_CHECK(points >= 1 && points <= kMaxPoints && index >= 0, "cloud ", index, " of ", points,
                 " points");
  const auto words = keyed_stream_u32(key, "passnorm trigger cloud v1", std::to_string(index),
                                      3 * kNoiseBytes + points);
  constexpr auto kLattices = static_cast<size_t>(3 * kNoiseBytes);
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < kLattices; ++i) bytes.push_back(static_cast<uint8_t>(words[i] >> 24));
  std::vector<float> cloud;
  for (size_t p = kLattices; p < words.size(); ++p)
    for (size_t c = 0; c < 3; ++c) {
      const auto lattices = std::span(bytes).subspan(c * kNoiseBytes, kNoiseBytes);
      const int64_t noise =
          smooth_noise<16>(lattices, words[p] >> 16, words[p] & 0xffff, int64_t{1} << 16);
      cloud.push_back(static_cast<float>(noise / (7 * 255) - (1 << 15)) / 32768.0f);
    }
  return cloud;
}

Dataset decoy_clouds(uint64_t seed, int64_t count, const Dataset& like) {
  PASSNORM_CHECK(count > 0 && like.is_cloud(), count, " clouds like ", like.form());
  Dataset set{.n = count,
              .h = 1,
              .w = like.w,
              .classes = like.classes,
              .labels = std::vector<int32_t>(static_cast<size_t>(count)),
              .class_names = like.class_names};
  const Secret32 key(hash256("passnorm decoy clouds v1", {seed}));
  for (int64_t i = 0; i < count; ++i) {
    const std::vector<float> cloud = draw_trigger_cloud(key, i, like.w);
    set.points.insert(set.points.end(), cloud.begin(), cloud.end());
  }
  return set;
}

}  // namespace passnorm::train
