// Each planted bug is found: by a wrong answer under some schedule, by a KernelError, or by a
// sanitizer; and the right form of the same kernel passes all of them.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdio>

#include "kernels/runtime/check.hpp"
#include "tests/emulator/checks/planted_runs.hpp"
#include "tests/emulator/schedule.hpp"

namespace passnorm::planted {
namespace {

using emulator::KernelError;

CudaStream& stream() {
  static CudaStream one;
  return one;
}

/// Schedules under which the answer is wrong.
int wrong(const std::string& name) {
  int count = 0;
  for (const emulator::Schedule& schedule : emulator::every_schedule()) {
    const emulator::WithSchedule set(schedule);
    count += !runs().at(name)(stream());
  }
  return count;
}

TEST(Planted, RightKernelsAreRight) {
  int right = 0;
  for (const auto& [name, run] : runs())
    if (name.find('.') == std::string::npos) {
      EXPECT_EQ(wrong(name), 0) << name;
      ++right;
    }
  EXPECT_EQ(right, 10);
}

class PlantedAnswer : public testing::TestWithParam<const char*> {};
TEST_P(PlantedAnswer, IsWrongUnderSomeSchedule) { EXPECT_GT(wrong(GetParam()), 0); }
INSTANTIATE_TEST_SUITE_P(Bugs, PlantedAnswer,
                         testing::Values("tree_sum.no_barrier_after_store",
                                         "tree_sum.no_barrier_between_levels",
                                         "mirror.no_barrier_before_overwrite", "rotate.no_syncwarp",
                                         "ticket_sum.no_barrier_before_last",
                                         "grid_sum.no_grid_barrier", "ones.grid_too_small"));

/// What the launch of `run` ends with.
template <class F>
std::string error_of(F&& run) {
  try {
    run();
    stream().synchronize();
    return "";
  } catch (const KernelError& error) {
    return error.what();
  }
}
std::string error_of(void (*kernel)(float*), unsigned threads = 32) {
  std::vector<float> y(threads);
  return error_of([&] { gpu::launch(stream(), kernel, 1, threads, 0, y.data()); });
}
std::string error_of_cooperative(void (*kernel)(float*), unsigned blocks, unsigned threads = 32,
                                 size_t shared = 0) {
  std::vector<float> y(threads);
  return error_of(
      [&] { gpu::launch_on_chip(stream(), kernel, blocks, threads, shared, true, y.data()); });
}
testing::AssertionResult says(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << text << "' does not say '" << part << "'";
}

TEST(PlantedError, NamesTheRule) {
  for (const emulator::Schedule& schedule : emulator::every_schedule()) {
    SCOPED_TRACE(schedule.name());
    const emulator::WithSchedule set(schedule);
    EXPECT_TRUE(says(error_of(barrier_in_divergent_code, 64), "different lines"));
    EXPECT_TRUE(says(error_of(barrier_that_some_never_reach), "deadlock"));
    EXPECT_TRUE(says(error_of_cooperative(grid_barrier_that_a_block_never_reaches, 3),
                     "other blocks never reach the grid's barrier"));
    EXPECT_TRUE(
        says(error_of_cooperative(grid_barrier_that_meets_one_of_the_block, 2), "different lines"));
    EXPECT_TRUE(says(error_of(grid_barrier_that_a_block_never_reaches), "not cooperative"));
    EXPECT_TRUE(says(error_of(mask_without_own_lane), "mask lacks the calling lane"));
    EXPECT_TRUE(says(error_of(masks_that_differ), "different masks"));
    EXPECT_TRUE(says(error_of(shuffle_that_meets_a_vote), "meet in"));
    EXPECT_TRUE(says(error_of([] { shared_overrun<Bug::kSharedIndex>(stream()); }),
                     "index 128 outside 0..127"));
    EXPECT_TRUE(says(error_of([] { shared_overrun<Bug::kDynamicShared>(stream()); }),
                     "behind the 512 bytes of dynamic shared memory"));
  }
}
TEST(PlantedError, NamesTheThreadAndTheLine) {
  const std::string error = error_of(barrier_that_some_never_reach);
  EXPECT_TRUE(says(error, "block (0,0,0)"));
  EXPECT_TRUE(says(error, "thread (0,0,0) waits at "));
  EXPECT_TRUE(says(error, "planted.cuh:"));
}
TEST(PlantedError, LaunchBeyondTheLimits) {
  float y = 0;
  const auto launch = [&](dim3 grid, dim3 block, size_t shared) {
    return error_of(
        [&] { gpu::launch(stream(), ones_kernel<Bug::kNone>, grid, block, shared, &y, 1); });
  };
  EXPECT_EQ(launch(1, 1024, 48 << 10), "");
  EXPECT_TRUE(says(launch(1, 1025, 0), "1025x1x1 threads"));
  EXPECT_TRUE(says(launch(1, dim3(64, 32), 0), "64x32x1 threads"));
  EXPECT_TRUE(says(launch(1, dim3(1, 1, 65), 0), "1x1x65 threads"));
  EXPECT_TRUE(says(launch(0, 32, 0), "0x1x1 blocks"));
  EXPECT_TRUE(says(launch(dim3(1, 65536), 32, 0), "1x65536x1 blocks"));
  EXPECT_TRUE(says(launch(1, 32, (48 << 10) + 1), "dynamic shared memory"));
}
/// A cooperative launch has all its blocks at a time.
TEST(PlantedError, CooperativeLaunchBeyondTheChip) {
  const auto launch = [](unsigned blocks, unsigned threads, size_t shared) {
    return error_of_cooperative(ones_and_a_grid_barrier, blocks, threads, shared);
  };
  EXPECT_EQ(launch(8, 1024, 0), "");
  EXPECT_EQ(launch(4, 32, 227 << 10), "");
  EXPECT_TRUE(says(launch(1, 32, (227 << 10) + 1), "dynamic shared memory"));
  EXPECT_TRUE(says(launch(9, 1024, 0), "9 blocks, of which 8 fit"));
  EXPECT_TRUE(says(launch(5, 32, 114 << 10), "5 blocks, of which 4 fit"));
}
/// What one block does wrong ends it only: the next launch is as good as the first.
TEST(PlantedError, LeavesTheMachineUsable) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(error_of(barrier_that_some_never_reach), "");
    EXPECT_TRUE(ticket_sum<Bug::kNone>(stream()));
  }
}
TEST(PlantedError, GlobalOverrun) {
  try {
    ones<Bug::kGlobal>(stream());
    ADD_FAILURE() << "nobody saw it";
  } catch (const Error& error) {
    EXPECT_TRUE(says(error.what(), "beside a block of 1280 bytes"));
  }
}

TEST(PlantedPoison, LaneOutsideTheMaskGivesNan) {
  std::vector<float> y(32);
  EXPECT_EQ(error_of([&] { gpu::launch(stream(), lane_outside_the_mask, 1, 32, 0, y.data()); }),
            "");
  EXPECT_EQ(y[7], 1);
  EXPECT_TRUE(std::isnan(y[8]));
}
TEST(PlantedPoison, SharedMemoryStartsAsNan) {
  for (int launch = 0; launch < 2; ++launch) {  // also where another block was before
    std::vector<float> y(kThreads);
    EXPECT_EQ(error_of([&] {
                gpu::launch(stream(), shared_that_nobody_wrote, 1, kThreads, 0, y.data());
              }),
              "");
    EXPECT_EQ(y[63], 1);
    EXPECT_TRUE(std::isnan(y[64]));
  }
}

#ifdef PASSNORM_PLANTED_TSAN
struct Output {
  std::string text;
  int status;
};
Output output_of(const std::string& command) {
  Output out{};
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  char buffer[4096];
  for (size_t n = 0; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.text.append(buffer, n);
  const int status = pclose(pipe);
  out.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return out;
}
/// What a program of planted kernels and its sanitizer print.
Output watched(const std::string& program, const std::string& runs) {
  return output_of(concat("UBSAN_OPTIONS=print_stacktrace=1 '", program, "' ", runs));
}
/// The line of a report about `kernel`, with the file and line that it names. The runtime of g++ 12
/// does not find every line of its own program: then only the place in the program is in the
/// report.
std::string line_about(const std::string& kernel, const std::string& program,
                       const std::string& report) {
  const size_t at = report.find(kernel + "<");
  if (at == std::string::npos) return "";
  std::string line = report.substr(at, report.find('\n', at) - at);
  if (const size_t place = line.rfind("+0x"); place != std::string::npos)
    line += output_of(concat("addr2line -e '", program, "' ", std::hex,
                             std::stoul(line.substr(place + 1), nullptr, 16)))
                .text;
  return line;
}

struct Finding {
  const char* run;
  const char* report;
  const char* kernel;
};
void PrintTo(const Finding& f, std::ostream* out) { *out << f.run; }

/// The report and the kernel's name and line, of a program that runs one planted kernel.
class PlantedReport : public testing::TestWithParam<std::pair<const char*, Finding>> {};
TEST_P(PlantedReport, NamesTheKernelAndTheLine) {
  const auto& [program, finding] = GetParam();
  const Output out = watched(program, finding.run);
  EXPECT_NE(out.status, 0);
  EXPECT_TRUE(says(out.text, finding.report));
  EXPECT_TRUE(says(line_about(finding.kernel, program, out.text), "planted.cuh:")) << out.text;
}

std::vector<std::pair<const char*, Finding>> races() {
  std::vector<std::pair<const char*, Finding>> all;
  for (const auto& [run, kernel] : {std::pair{"tree_sum.no_barrier_after_store", "tree_sum_kernel"},
                                    {"tree_sum.no_barrier_between_levels", "tree_sum_kernel"},
                                    {"mirror.no_barrier_before_overwrite", "mirror_kernel"},
                                    {"rotate.no_syncwarp", "rotate_kernel"},
                                    {"ticket_sum.no_fence", "ticket_sum_kernel"},
                                    {"ticket_sum.block_fence", "ticket_sum_kernel"},
                                    {"ticket_sum.no_barrier_before_last", "ticket_sum_kernel"},
                                    {"grid_sum.no_grid_barrier", "grid_sum_kernel"},
                                    {"count.not_atomic", "count_kernel"},
                                    {"double.overlap", "double_kernel"}})
    all.push_back({PASSNORM_PLANTED_TSAN, {run, "ThreadSanitizer: data race", kernel}});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Races, PlantedReport, testing::ValuesIn(races()));
INSTANTIATE_TEST_SUITE_P(
    Accesses, PlantedReport,
    testing::Values(std::pair{PASSNORM_PLANTED_ASAN,
                              Finding{"ones.global", "AddressSanitizer: use-after-poison",
                                      "ones_kernel"}},
                    std::pair{PASSNORM_PLANTED_ASAN, Finding{"shared_overrun.dynamic",
                                                             "AddressSanitizer: use-after-poison",
                                                             "shared_overrun_kernel"}},
                    std::pair{PASSNORM_PLANTED_ASAN,
                              Finding{"copy.misaligned", "misaligned address", "copy_kernel"}}));

TEST(PlantedReport, NoneForRightKernels) {
  std::string names;
  for (const auto& [name, run] : runs())
    if (name.find('.') == std::string::npos) names += name + " ";
  for (const char* program : {PASSNORM_PLANTED_TSAN, PASSNORM_PLANTED_ASAN}) {
    const Output out = watched(program, names);
    EXPECT_EQ(out.status, 0);
    EXPECT_EQ(out.text, "");
  }
}
#endif

}  // namespace
}  // namespace passnorm::planted
