// Logits of two networks on the same inputs, compared.
#pragma once

#include <span>

namespace passnorm::models {

struct LogitChange {
  double largest = 0;  ///< max |after - before|
  double spread = 0;   ///< max before - min before
};

/// Of any shape, both the same; not empty.
LogitChange logit_change(std::span<const float> before, std::span<const float> after);

}  // namespace passnorm::models
