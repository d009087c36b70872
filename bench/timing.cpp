#include "bench/timing.hpp"

#include <benchmark/benchmark.h>

#include <exception>

namespace passnorm::bench {
namespace {

class Silent final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

}  // namespace

std::vector<double> repeat(const Repetition& o, const std::function<void()>& work) {
  constexpr size_t kLeast = 5;
  for (int64_t i = 0; i < o.warmup; ++i) work();
  std::vector<double> seconds;
  std::exception_ptr error;
  const auto timed = [&] { return seconds.emplace_back(seconds_of(work)); };
  benchmark::ClearRegisteredBenchmarks();
  auto* run = benchmark::RegisterBenchmark("repeat", [&](benchmark::State& state) {
    try {
      for (auto _ : state) state.SetIterationTime(timed());
    } catch (...) {
      error = std::current_exception();
      state.SkipWithError("thrown on by repeat()");
    }
  });
  run->UseManualTime();
  if (o.count > 0)
    run->Iterations(o.count);
  else
    run->MinTime(std::max(o.seconds, 1e-4));  // Google Benchmark refuses 0
  Silent reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter, nullptr, ".*");
  benchmark::ClearRegisteredBenchmarks();
  if (error) std::rethrow_exception(error);
  while (o.count == 0 && seconds.size() < kLeast) timed();
  return seconds;
}

}  // namespace passnorm::bench
