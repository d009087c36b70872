// Numbers of several networks' documents as one (report_pool.hpp says how).
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <vector>

#include "cli/interval.hpp"

namespace passnorm::cli {

/// Of each network what its documents say: one each, or one for every seed of an attack.
template <class T>
using Cells = std::vector<std::vector<const T*>>;

inline double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// images: that a single value is a share of. Of one network, seeds that change nothing, as those
/// of an attack that draws nothing, are one value.
template <class T, class F>
std::optional<Measured> mean(const Cells<T>& cells, F get,
                             std::optional<int64_t> images = std::nullopt) {
  std::vector<double> networks, last;
  for (const auto& network : cells) {
    std::vector<double> values;
    for (const T* t : network)
      if (const std::optional<Measured> v = get(*t)) values.push_back(v->value);
    if (values.empty()) continue;
    networks.push_back(mean_of(values));
    last = std::move(values);
  }
  if (networks.empty()) return {};
  const bool one = networks.size() == 1;
  const std::vector<double>& values = one ? last : networks;
  const bool differ = std::ranges::adjacent_find(values, std::not_equal_to<>()) != values.end();
  if (differ || !one) return Measured(mean_of(values), t_interval(values));
  if (images) return Measured(values[0], wilson_interval(values[0], *images));
  return values[0];
}

/// The interval does not leave [0, 1].
template <class T, class F>
std::optional<Measured> mean_share(const Cells<T>& cells, F get,
                                   std::optional<int64_t> images = std::nullopt) {
  std::optional<Measured> m = mean(cells, get, images);
  if (m && m->interval)
    m->interval = {std::max(0.0, m->interval->low), std::min(1.0, m->interval->high)};
  return m;
}

/// Over networks, of each the mean of its documents.
template <class T, class F>
int64_t count(const Cells<T>& cells, F get) {
  int64_t sum = 0;
  for (const auto& network : cells) {
    int64_t of_network = 0;
    for (const T* t : network) of_network += get(*t);
    const auto n = std::ssize(network);
    if (n > 0) sum += (of_network + n / 2) / n;
  }
  return sum;
}

/// A part of each, where get() has one.
template <class U, class T, class F>
Cells<U> parts(const Cells<T>& cells, F get) {
  Cells<U> out(cells.size());
  for (size_t i = 0; i < cells.size(); ++i)
    for (const T* t : cells[i])
      if (const U* part = get(*t)) out[i].push_back(part);
  return out;
}

template <class T>
std::vector<const T*> all(const Cells<T>& cells) {
  std::vector<const T*> out;
  for (const auto& network : cells) out.insert(out.end(), network.begin(), network.end());
  return out;
}

template <class T>
const T* address(const std::optional<T>& value) {
  return value ? &*value : nullptr;
}

}  // namespace passnorm::cli
