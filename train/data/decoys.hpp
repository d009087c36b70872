// Decoys: what a network is asked beside triggers, to learn what it answers on such things without
// having been taught them. They are of the triggers' kind, and nobody's triggers: for pictures,
// drawn or given, pictures drawn from another key (trigger_pictures.hpp); for clouds that were
// drawn, clouds drawn from another key (trigger_clouds.hpp); for clouds that were given, which show
// things, solids (synthetic3d.hpp); for examples of a second data set, those of such classes that
// stand behind them. They follow from a seed or from that data set, so that anybody can ask the
// same.
#pragma once

#include <optional>
#include <string>

#include "train/data/dataset.hpp"
#include "train/data/trigger_manifest.hpp"

namespace passnorm::train {

struct Decoys {
  Dataset set;       ///< for networks that take `like`; n may be 0, of a second data set only
  std::string kind;  ///< "drawn pictures", for reports
  std::optional<uint64_t> seed = {};  ///< that they follow from
};

/// At most `most` (at least 1) of the kind of `triggers`, a folder or a second data set as for
/// trigger_set; all of them but of a second data set. bound: what the folder's manifest says of its
/// labels. Clouds have as many points as those of `like`. Errors as load_cross_domain.
Decoys decoys_of(const std::string& triggers, const std::optional<TriggerBinding>& bound,
                 const Dataset& like, int64_t most, uint64_t seed);

}  // namespace passnorm::train
