// The statistics of a claim.
#pragma once

#include <cstdint>

namespace passnorm::verify {

/// log2 P[X >= matched], X ~ Binomial(total, 1/2): how often a passport whose bits have nothing to
/// do with the network would match at least as well. Computed in log space, exact to about 1e-12
/// relative; 0 for matched <= 0.
double log2_binomial_tail(int64_t matched, int64_t total);

}  // namespace passnorm::verify
