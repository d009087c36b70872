#include "bench/timing.hpp"

#include <benchmark/benchmark.h>

#include <exception>
#include <memory>

#include "kernels/runtime/pinned.hpp"

namespace passnorm::bench {
namespace {

class Silent final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

constexpr size_t kLeast = 5;

std::vector<double> repeat_on_cpu(const Repetition& o, const std::function<void()>& work) {
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

std::vector<double> repeat_on_gpu(Stream& stream, const Repetition& o,
                                  const std::function<void()>& work) {
  constexpr int64_t kWarmup = 5, kRow = 10;
  for (int64_t i = 0; i < std::max(o.warmup, kWarmup); ++i) work();
  stream.synchronize();
  std::vector<double> seconds;
  double total = 0;
  const auto enough = [&] {
    return o.count > 0 ? std::ssize(seconds) >= o.count
                       : seconds.size() >= kLeast && total >= o.seconds;
  };
  while (!enough()) {
    const int64_t calls = o.count > 0 ? o.count : kRow;
    std::vector<std::unique_ptr<Event>> marks;
    for (int64_t i = 0; i <= calls; ++i) {
      marks.push_back(std::make_unique<Event>(stream));
      marks.back()->record();
      if (i < calls) work();
    }
    marks.back()->wait();
    for (size_t i = 1; i < marks.size(); ++i) {
      seconds.push_back(1e-3 * Event::milliseconds(*marks[i - 1], *marks[i]));
      total += seconds.back();
    }
  }
  return seconds;
}

}  // namespace

std::vector<double> repeat(Stream& stream, const Repetition& o, const std::function<void()>& work) {
  return stream.device().kind == Device::Kind::kCuda ? repeat_on_gpu(stream, o, work)
                                                     : repeat_on_cpu(o, work);
}

}  // namespace passnorm::bench
