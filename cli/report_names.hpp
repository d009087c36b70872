// What runs and attacks are called in a report.
#pragma once

#include "cli/report_data.hpp"

namespace passnorm::cli {

/// Labels: of scheme, architecture with scheme, folder, path, the shortest by which all differ.
void name_runs(std::vector<RunRecord>& runs);

/// In the order of `passnorm attack all`; chains behind, and what this program does not know.
void sort_attacks(std::vector<AttackRecord>& attacks);

/// Gives each a title of its own, with the settings by which it differs from its like.
void name_attacks(std::vector<AttackRecord>& attacks);

}  // namespace passnorm::cli
