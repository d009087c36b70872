// What a network answered on pictures or clouds that somebody else showed it: a table for those who
// may ask a network, but do not have it. CSV (engine/io/csv.hpp) with a header that names the
// columns
//   file    the picture or cloud, as the manifest of its set names it (pics/007.png)
//   label   the class that the network answered, a whole number from 0
// in any order; other columns are not looked at.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace passnorm::train {

/// The answers on `files`, in their order; with no files those on every file of the table, in
/// its order. Error(kInput), one line that starts with `name`: what parse_csv refuses, a column
/// that is missing or stands twice, a file that is not one of `files`, that stands twice or is
/// missing, a label that is no whole number in [0, classes).
std::vector<int32_t> parse_predictions(std::string_view name, std::string_view text,
                                       std::span<const std::string> files, int64_t classes);

/// A table with these answers.
std::string predictions_csv(std::span<const std::string> files, std::span<const int32_t> labels);

}  // namespace passnorm::train
