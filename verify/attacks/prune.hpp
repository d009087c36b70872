// Pruning by magnitude, over a whole network at once.
#pragma once

#include "models/model.hpp"

namespace passnorm::verify {

struct Pruned {
  double threshold = 0;
  int64_t kept = 0;  ///< weights that stay
};

/// w = |w| > T ? w : 0 of all parameters, T the percentile (0 to 100, numpy's linear interpolation)
/// of |w| over all of them; percentile 0 changes nothing. skip_gate: T is the same, but tensors
/// with "fc" in their name stay as they are.
Pruned prune_weights(Model& model, double percent, bool skip_gate);

}  // namespace passnorm::verify
