// Networks that differ in nothing but their seeds, and attacks on them that differ in nothing but
// theirs, are shown as one: means, with 95% intervals.
//   accuracy, metrics  the mean over networks (of one network: over the attack's seeds, where they
//                      differ) with Student's interval; a single accuracy has Wilson's, where the
//                      number of test images is known; of the best random passport the best of all
//   bits               counted over networks (of each: the mean over the attack's seeds), with the
//                      interval of Clopper and Pearson, which takes them for independent; without
//                      one where the attack sets how many it turns (flip)
//   log2 p             the mean, with the least and the most
#pragma once

#include <string_view>

#include "cli/report_data.hpp"

namespace passnorm::cli {

/// The most pools that one report compares: as many as colours can be told apart.
inline constexpr size_t kMostPools = 7;

/// Makes data.pools of data.runs, and gives both their labels. Error(kUsage): more than kMostPools.
void pool_runs(ReportData& data);

/// What the intervals are, in sentences for whoever reads a report.
extern const std::string_view kIntervals;

}  // namespace passnorm::cli
