// What data sets that lie in folders share: names in a fixed order, and examples in turn of their
// classes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace passnorm::train {

/// What a folder may say that it has.
inline constexpr int64_t kMaxClasses = 10'000;

/// Names of the folder's entries that do not begin with a dot, in order of their bytes.
/// Error(kInput) when it cannot be listed.
std::vector<std::string> list_folder(const std::filesystem::path& folder);

/// Numbers of the first `limit` (0: all) of the examples with these labels, which are >= 0: the
/// first of every class, the second of every class, and so on, so that a limit keeps the classes.
std::vector<int64_t> in_turn(std::span<const int32_t> labels, int64_t limit);

}  // namespace passnorm::train
