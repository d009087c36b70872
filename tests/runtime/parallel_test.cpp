#include "kernels/runtime/parallel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <set>
#include <vector>

#include "kernels/runtime/check.hpp"
#include "tests/support/streams.hpp"

namespace passnorm::test {
namespace {

TEST(ParallelFor, CoversEveryIndexOnce) {
  for (CpuStream& s : streams())
    for (int64_t n : {0, 1, 2, 3, 7, 64, 1001})
      for (int64_t grain : {1, 10, 5000}) {
        std::vector<std::atomic<int>> visits(static_cast<size_t>(n));
        std::atomic<int> calls = 0, backwards = 0;
        parallel_for(s, n, grain, [&](int64_t begin, int64_t end) {
          ++calls;
          backwards += begin >= end;
          for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
        });
        for (int64_t i = 0; i < n; ++i)
          ASSERT_EQ(visits[static_cast<size_t>(i)], 1) << i << " of " << n << ", grain " << grain;
        EXPECT_EQ(backwards, 0);
        EXPECT_LE(calls, std::min<int64_t>(s.threads(), (n + grain - 1) / grain))
            << "n " << n << ", grain " << grain;
      }
}

TEST(ParallelFor, UsesTheStreamsThreads) {
  for (CpuStream& s : streams()) {
    std::vector<int> thread(static_cast<size_t>(s.threads()), -1);
    parallel_for(s, s.threads(), 1, [&](int64_t begin, int64_t) {
      thread[static_cast<size_t>(begin)] = omp_get_thread_num();
    });
    EXPECT_EQ(std::set<int>(thread.begin(), thread.end()).size(), static_cast<size_t>(s.threads()));
  }
}

TEST(ParallelFor, InsideAnotherRunsOnTheThread) {
  std::atomic<int64_t> sum = 0;
  parallel_for(streams()[2], 3, 1, [&](int64_t, int64_t) {
    parallel_for(streams()[2], 100, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
  });
  EXPECT_EQ(sum, 300);
}

/// Whichever thread throws, the caller catches it, with its type; and the stream goes on working.
TEST(ParallelFor, ExceptionsReachTheCaller) {
  for (CpuStream& s : streams())
    for (int64_t bad : {0, 50, 99}) {
      try {
        parallel_for(s, 100, 1, [&](int64_t begin, int64_t end) {
          if (begin <= bad && bad < end) fail(Fault::kNumerics, "index ", bad);
        });
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::kNumerics);
        EXPECT_EQ(std::string(error.what()), "index " + std::to_string(bad));
      }
      std::atomic<int64_t> count = 0;
      parallel_for(s, 100, 1, [&](int64_t begin, int64_t end) { count += end - begin; });
      EXPECT_EQ(count, 100);
    }
}

TEST(ParallelRanges, SplitDoesNotDependOnThreads) {
  for (int64_t n : {1, 5, 64, 1001})
    for (int64_t ranges : {1, 3, 16}) {
      std::vector<std::pair<int64_t, int64_t>> first;
      for (CpuStream& s : streams()) {
        std::vector<std::pair<int64_t, int64_t>> split(static_cast<size_t>(ranges), {-1, -1});
        parallel_ranges(s, n, ranges, [&](int64_t r, int64_t begin, int64_t end) {
          split[static_cast<size_t>(r)] = {begin, end};
        });
        int64_t at = 0;
        for (const auto& [begin, end] : split) {
          EXPECT_EQ(begin, at) << "n " << n << ", ranges " << ranges;
          at = end;
        }
        EXPECT_EQ(at, n);
        if (first.empty()) first = split;
        EXPECT_EQ(split, first) << s.threads() << " threads";
      }
    }
}

}  // namespace
}  // namespace passnorm::test
