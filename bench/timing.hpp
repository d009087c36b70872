// What every bench does with a clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/runtime/stream.hpp"

namespace passnorm::bench {

/// Of an unordered list that is not empty; of an even number of values the mean of the middle two.
inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// Wall-clock seconds of one call.
template <class F>
double seconds_of(F&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Calls done, and the seconds of each timed one.
struct Repetition {
  int64_t warmup = 2;  ///< on a GPU at least 5: work settles before it is recorded
  int64_t count = 0;   ///< timed calls; 0: as many as fit into `seconds`, at least 5
  double seconds = 10;
};
/// On a CPU by Google Benchmark, which finds how many calls fill the time. On a GPU from event to
/// event of a row of calls, so that the host may run ahead: what the device waits for it counts.
std::vector<double> repeat(Stream& stream, const Repetition& o, const std::function<void()>& work);

}  // namespace passnorm::bench
