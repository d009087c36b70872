// The rows of the registry, in the order of `passnorm attack all`; each stands in the file of its
// attack.
#pragma once

#include "verify/attacks/attack.hpp"

namespace passnorm::verify {

Attack prune_attack();
Attack quantise_attack();
Attack flip_attack();
Attack fake1_attack();
Attack gauge_attack();
Attack permute_attack();
Attack fine_tune_attack();
Attack overwrite_attack();
Attack fake2_attack();
Attack fake3_attack();
Attack ambiguity1_attack();
Attack ambiguity2_attack();
Attack erb_attack();

}  // namespace passnorm::verify
