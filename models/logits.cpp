#include "models/logits.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/runtime/check.hpp"

namespace passnorm::models {

LogitChange logit_change(std::span<const float> before, std::span<const float> after) {
  PASSNORM_CHECK(!before.empty() && before.size() == after.size(), before.size(), " logits and ",
                 after.size());
  const auto [least, most] = std::ranges::minmax(before);
  LogitChange change{.spread = double{most} - double{least}};
  for (size_t i = 0; i < before.size(); ++i)
    change.largest = std::max(change.largest, std::abs(double{after[i]} - double{before[i]}));
  return change;
}

}  // namespace passnorm::models
