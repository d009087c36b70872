#include "train/data/decoys.hpp"

#include <algorithm>
#include <cstring>

#include "engine/io/crypto.hpp"
#include "train/data/cross_domain.hpp"
#include "train/data/synthetic3d.hpp"
#include "train/data/trigger_clouds.hpp"
#include "train/data/trigger_pictures.hpp"

namespace passnorm::train {
namespace {

/// Shapes that no synthetic3d:N=.. shows.
Dataset decoy_solids(uint64_t seed, int64_t count, const Dataset& like) {
  const Hash256 hash = hash256("passnorm decoy solids v1", {seed});
  Synthetic3dOptions options{.test = count, .points = like.w};
  std::memcpy(&options.seed, hash.data(), sizeof options.seed);
  Dataset set = synthetic3d(options, Split::kTest);
  set.classes = like.classes;
  set.class_names = like.class_names;
  std::ranges::fill(set.labels, 0);  // of other classes
  return set;
}

}  // namespace

Decoys decoys_of(const std::string& triggers, const std::optional<TriggerBinding>& bound,
                 const Dataset& like, int64_t most, uint64_t seed) {
  if (const auto spec = parse_cross_domain(triggers))
    return {load_cross_domain_rest(*spec, like, most), "more of the second data set"};
  if (like.is_cloud())
    return bound && bound->generated_points > 0
               ? Decoys{decoy_clouds(seed, most, like), "drawn clouds", seed}
               : Decoys{decoy_solids(seed, most, like), "clouds of drawn solids", seed};
  const int64_t drawn = bound ? bound->generated_side : 0;
  const int64_t side =
      drawn > 0 ? drawn : std::clamp(std::max(like.h, like.w), kMinTriggerSide, kMaxTriggerSide);
  return {decoy_triggers(seed, most, side, like), "drawn pictures", seed};
}

}  // namespace passnorm::train
