#include "bench/kernels.hpp"

#include <benchmark/benchmark.h>

#include <exception>
#include <regex>

#include "bench/catalogue.hpp"
#include "bench/ceilings.hpp"
#include "bench/device_timing.hpp"
#include "bench/timing.hpp"
#include "engine/io/text.hpp"

namespace passnorm::bench {
namespace {

std::vector<Kernel> selected(Device device, const KernelBench& o) {
  std::vector<Kernel> kernels = std::move(Catalogue(device, o.samples).kernels());
  try {
    const std::regex wanted(o.filter);
    std::erase_if(kernels, [&](const Kernel& k) { return !std::regex_search(k.name, wanted); });
  } catch (const std::regex_error&) {
    fail(Fault::kUsage, quote(o.filter), " is not a regular expression");
  }
  if (kernels.empty()) fail(Fault::kUsage, "no kernel's name has ", quote(o.filter), " in it");
  return kernels;
}

/// Seconds of a call in each repetition, and the launches of a call.
struct Measured {
  std::vector<double> seconds;
  double launches = 0;
};

/// Takes every repetition's time per call; prints nothing.
class Collector final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs)  // of an error too: measure_on_cpu() throws that on
      if (run.run_type == Run::RT_Iteration)
        seconds.push_back(run.real_accumulated_time / static_cast<double>(run.iterations));
  }
  std::vector<double> seconds;
};

/// By Google Benchmark, which finds how many calls fill the time.
Measured measure_on_cpu(Stream& stream, const Kernel& kernel, const KernelBench& o) {
  std::exception_ptr error;
  benchmark::ClearRegisteredBenchmarks();
  benchmark::RegisterBenchmark(kernel.name.c_str(),
                               [&](benchmark::State& state) {
                                 try {
                                   const Call call = kernel.prepare(stream);
                                   call();  // makes plans and touches memory
                                   for (auto _ : state) call();
                                 } catch (...) {
                                   state.SkipWithError("thrown on by measure_on_cpu()");
                                   error = std::current_exception();
                                 }
                               })
      ->UseRealTime()
      ->MinTime(std::max(o.seconds, 1e-4))  // Google Benchmark refuses 0
      ->Repetitions(o.repetitions);
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector, nullptr, ".*");
  benchmark::ClearRegisteredBenchmarks();
  if (error) std::rethrow_exception(error);
  return {collector.seconds};
}

Measured measure_on_gpu(Stream& stream, const Kernel& kernel, const KernelBench& o) {
  std::vector<Call> calls;
  for (int64_t i = sets_beyond_cache(stream, kernel.bytes); i > 0; --i)
    calls.push_back(kernel.prepare(stream));
  const DeviceTimes times = time_on_device(
      stream,
      [&] {
        for (const Call& call : calls) call();
      },
      o.seconds, o.repetitions, kernel.recordable);
  const auto count = static_cast<double>(calls.size());
  Measured measured{.launches = static_cast<double>(times.launches) / count};
  for (const double seconds : times.seconds) measured.seconds.push_back(seconds / count);
  return measured;
}

}  // namespace

std::vector<std::string> kernel_names(Device device, const KernelBench& options) {
  std::vector<std::string> names;
  for (const Kernel& k : selected(device, options)) names.push_back(k.name);
  return names;
}

KernelReport time_kernels(Stream& stream, const KernelBench& o) {
  const bool on_gpu = stream.device().kind == Device::Kind::kCuda;
  Ceilings ceilings(stream);
  KernelReport report;
  for (const Kernel& kernel : selected(stream.device(), o)) {
    KernelTime& time = report.kernels.emplace_back(KernelTime{
        .name = kernel.name, .flops = kernel.flops, .bytes = kernel.bytes, .moved = kernel.moved});
    Measured measured;
    try {
      measured = (on_gpu ? measure_on_gpu : measure_on_cpu)(stream, kernel, o);
    } catch (const Error& e) {
      if (e.fault() != Fault::kMachine) throw;
      time.skipped = e.what();  // this machine has no such kernel
      continue;
    }
    const auto [least, most] = std::ranges::minmax(measured.seconds);
    time.median = median(measured.seconds), time.least = least, time.most = most;
    time.launches = measured.launches;
    const bool arithmetic = kernel.flops > 0;
    const double ceiling =
        arithmetic ? ceilings.arithmetic(kernel.dtype) : ceilings.copy(kernel.bytes);
    time.ceiling =
        arithmetic ? ceilings.arithmetic_name(kernel.dtype) : Ceilings::copy_name(kernel.bytes);
    const double work = arithmetic ? kernel.flops : kernel.bytes;
    if (ceiling > 0) time.share = work / time.median / ceiling;
  }
  report.ceilings = ceilings.measured();
  return report;
}

}  // namespace passnorm::bench
