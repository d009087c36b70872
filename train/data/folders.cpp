#include "train/data/folders.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::train {

std::vector<std::string> list_folder(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error))
    if (std::string name = it->path().filename(); !name.starts_with('.'))
      names.push_back(std::move(name));
  if (error)
    fail(Fault::kInput, printable(folder.string(), 400), ": cannot list: ", error.message());
  std::ranges::sort(names);
  return names;
}

std::vector<int64_t> in_turn(std::span<const int32_t> labels, int64_t limit) {
  std::vector<std::tuple<int64_t, int32_t, int64_t>> order;  // place in the class, class, example
  std::vector<int64_t> seen;
  for (int64_t i = 0; i < std::ssize(labels); ++i) {
    const auto label = static_cast<size_t>(labels[static_cast<size_t>(i)]);
    if (label >= seen.size()) seen.resize(label + 1);
    order.emplace_back(seen[label]++, static_cast<int32_t>(label), i);
  }
  std::ranges::sort(order);
  if (limit > 0 && limit < std::ssize(order)) order.resize(static_cast<size_t>(limit));
  std::vector<int64_t> out;
  for (const auto& [place, label, i] : order) out.push_back(i);
  return out;
}

}  // namespace passnorm::train
