#include "train/data/trigger_pictures.hpp"

#include <algorithm>

#include "kernels/runtime/check.hpp"

namespace passnorm::train {
namespace {

constexpr int64_t kCells[] = {2, 4, 8};
constexpr int kWeights[] = {4, 2, 1};
constexpr int64_t kBytes = 3 * (3 * 3 + 5 * 5 + 9 * 9);

/// Where a pixel lies between the lattice points: behind `cell`, by `weight` of 256.
struct Place {
  int64_t cell;
  int weight;
};
Place place_of(int64_t pixel, int64_t cells, int64_t side) {
  const int64_t at = pixel * cells * 256 / side, u = at % 256;
  return {at / 256, static_cast<int>(u * u * (3 * 256 - 2 * u) >> 16)};
}

/// Adds 256 times the lattice's values, weighted, to a plane of sums.
void add_noise(std::span<const uint8_t> lattice, int64_t cells, int weight, int64_t side,
               std::vector<int>& sums) {
  for (int64_t y = 0; y < side; ++y) {
    const Place v = place_of(y, cells, side);
    for (int64_t x = 0; x < side; ++x) {
      const Place u = place_of(x, cells, side);
      const auto corner = [&](int64_t dy, int64_t dx) {
        return static_cast<int>(
            lattice[static_cast<size_t>((v.cell + dy) * (cells + 1) + u.cell + dx)]);
      };
      const int above = corner(0, 0) * (256 - u.weight) + corner(0, 1) * u.weight,
                below = corner(1, 0) * (256 - u.weight) + corner(1, 1) * u.weight;
      sums[static_cast<size_t>(y * side + x)] +=
          weight * ((above * (256 - v.weight) + below * v.weight) >> 8);
    }
  }
}

}  // namespace

Picture draw_trigger(const Secret32& key, int64_t index, int64_t side) {
  PASSNORM_CHECK(side >= kMinTriggerSide && side <= kMaxTriggerSide && index >= 0, "picture ",
                 index, " of side ", side);
  const auto words =
      keyed_stream_u32(key, "passnorm trigger picture v1", std::to_string(index), kBytes);
  std::vector<uint8_t> bytes;
  for (const uint32_t word : words) bytes.push_back(static_cast<uint8_t>(word >> 24));
  std::span<const uint8_t> rest(bytes);
  Picture picture{{side, side}, std::vector<uint8_t>(static_cast<size_t>(3 * side * side))};
  for (size_t c = 0; c < 3; ++c) {
    std::vector<int> sums(static_cast<size_t>(side * side));
    for (size_t i = 0; i < std::size(kCells); ++i) {
      const auto points = static_cast<size_t>((kCells[i] + 1) * (kCells[i] + 1));
      add_noise(rest.first(points), kCells[i], kWeights[i], side, sums);
      rest = rest.subspan(points);
    }
    for (size_t i = 0; i < sums.size(); ++i)
      picture.rgb[3 * i + c] =
          static_cast<uint8_t>(std::clamp(2 * (sums[i] / (7 * 256)) - 128, 0, 255));
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
