// The statistics of a claim.
#pragma once

#include <cstdint>
#include <span>

namespace passnorm::verify {

/// log2 P[X >= matched], X ~ Binomial(total, 1/2): how often a passport whose bits have nothing to
/// do with the network would match at least as well. Computed in log space, exact to about 1e-12
/// relative; 0 for matched <= 0.
double log2_binomial_tail(int64_t matched, int64_t total);

/// log2 P[X >= matched], X the number of successes of independent trials with these probabilities,
/// each in [0, 1] (the Poisson binomial distribution): how often a network would give so many
/// triggers their labels that answers trigger j with its label with probability p[j]. Exact to
/// about 1e-10; -infinity where so many successes are impossible. Time O(n sqrt n).
double log2_poisson_binomial_tail(int64_t matched, std::span<const double> p);

}  // namespace passnorm::verify
