// Triggers from another domain: examples of a second data set whose labels are drawn (PAN trains
// PointNet on ModelNet with triggers from ShapeNet, and the reverse).
#pragma once

#include <optional>
#include <string_view>

#include "train/data/dataset.hpp"

namespace passnorm::train {

/// "SPEC#COUNT" or "SPEC#COUNT:seed=N": modelnet:DIR#150, synthetic3d#50:seed=7.
struct CrossDomainSpec {
  DataSpec data;
  int64_t count = 0;
  uint64_t seed = 1;  ///< of the labels
};

/// None when the text does not begin with the name of a data set or has no #: it is a folder's.
/// Error(kUsage) for a bad count or seed, and as parse_data_spec.
std::optional<CrossDomainSpec> parse_cross_domain(std::string_view text);

/// Triggers for networks trained on `like`: the first `count` examples of `other` whose class is
/// none of `like`'s (by name), in its order. Example i has the label of random number i of
/// (seed, kSynthetic, stream 16): uniform over the classes of `like` but the one that has the
/// number of its own class. Error(kUsage) when there are fewer, or images or clouds of another
/// size.
Dataset cross_domain_triggers(const Dataset& other, const Dataset& like, int64_t count,
                              uint64_t seed);

/// The same of the test split of a set; clouds with as many points as those of `like`, where SPEC
/// does not say how many.
Dataset load_cross_domain(const CrossDomainSpec& spec, const Dataset& like);

/// Of that split the examples behind the triggers, at most `most` and perhaps none: of such classes
/// too, and no triggers. Labels 0. Errors as load_cross_domain, but not for too few.
Dataset load_cross_domain_rest(const CrossDomainSpec& spec, const Dataset& like, int64_t most);

}  // namespace passnorm::train
