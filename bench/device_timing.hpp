// The speed of a GPU's part of a work.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/runtime/stream.hpp"

namespace passnorm::bench {

struct DeviceTimes {
  std::vector<double> seconds;  ///< of one run of the work, in each repetition
  size_t launches = 0;          ///< kernels and copies of a run; 0: not recorded
};

/// Runs the work again and again between two events, for `seconds` in each repetition. Recorded
/// work (CapturedWork) is replayed as a graph: what the host does for a launch does not count.
DeviceTimes time_on_device(Stream& stream, const std::function<void()>& work, double seconds,
                           int repetitions, bool recordable = true);

/// How many sets of operands of `bytes` each a work must walk over so that none is still in the L2
/// cache when its turn comes again, but at most 64: what is smaller than a 32nd of the cache may be
/// found there. 1 on the CPU.
int64_t sets_beyond_cache(Stream& stream, double bytes);

}  // namespace passnorm::bench
