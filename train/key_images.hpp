// Secret pictures for image and shuffle passports.
#pragma once

#include "models/propagate_keys.hpp"
#include "train/data/dataset.hpp"

namespace passnorm::train {

/// count different images of the set for each key, picked by the secret and normalised: for the
/// shift key first. Error(kUsage) when the set is smaller.
models::KeyImages key_images(Stream& stream, const Dataset& set, int64_t count,
                             const Secret32& secret);

}  // namespace passnorm::train
