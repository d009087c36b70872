// parallel_for: static chunks on the OpenMP runtime that oneDNN uses too.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

#include "kernels/runtime/stream.hpp"

namespace passnorm {

/// Calls f(begin, end) on consecutive ranges that cover [0, n). Ranges are split by n and grain
/// only, never by the number of threads, when f keeps per-range results (see `parallel_ranges`);
/// here each index must be independent. grain: the fewest indices worth a thread.
template <class F>
void parallel_for(CpuStream& stream, int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  const int64_t wanted = (n + grain - 1) / std::max<int64_t>(grain, 1);
  const int threads = static_cast<int>(std::min<int64_t>(stream.threads(), wanted));
  if (threads <= 1 || omp_in_parallel()) {
    f(int64_t{0}, n);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel num_threads(threads)
  {
    const int64_t t = omp_get_thread_num(), count = omp_get_num_threads();
    const int64_t begin = n * t / count, end = n * (t + 1) / count;
    try {
      if (begin < end) f(begin, end);
    } catch (...) {
#pragma omp critical(passnorm_parallel_for)
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

/// Splits [0, n) into `ranges` parts and calls f(range, begin, end) for each: the split does not
/// depend on the number of threads, so partial sums kept per range and added in order give the same
/// bits for any number of threads.
template <class F>
void parallel_ranges(CpuStream& stream, int64_t n, int64_t ranges, F&& f) {
  parallel_for(stream, ranges, 1, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) f(r, n * r / ranges, n * (r + 1) / ranges);
  });
}

}  // namespace passnorm
