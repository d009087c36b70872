#include "kernels/runtime/device.hpp"

#include "kernels/runtime/check.hpp"
#include "kernels/runtime/machine.hpp"

namespace passnorm {

Device Device::best() { return why_cpu().empty() ? cuda(*gpu_report().first()) : cpu(); }

std::string why_cpu(const GpuReport& report, const std::vector<GpuLibrary>& libraries) {
  if (!report.first()) return report.why_not(0);
  if (report.emulated) return "the emulated GPU is for tests";
  for (const GpuLibrary& library : libraries)
    if (!library.problem.empty()) return library.problem;
  return {};
}

std::string why_cpu() {
  const GpuReport report = gpu_report();
  return why_cpu(report, report.first() ? gpu_libraries() : std::vector<GpuLibrary>());
}

std::string GpuReport::why_not(int index) const {
  if (gpus.empty()) return why_none;
  const auto count = static_cast<int>(gpus.size());
  if (index < 0 || index >= count)
    return concat("this machine has ", count, count == 1 ? " GPU" : " GPUs");
  const Gpu& gpu = gpus[static_cast<size_t>(index)];
  if (gpu.compute_major >= kLeastComputeMajor) return {};
  return concat(gpu.name, " has compute capability ", gpu.compute_major, ".", gpu.compute_minor,
                ", and ", kLeastComputeMajor, ".0 or later is needed");
}

void GpuReport::require(int index) const {
  if (const std::string why = why_not(index); !why.empty())
    fail(Fault::kMachine, Device::cuda(index).name(), " was asked for, but ", why,
         "; use --device cpu");
}

std::optional<int> GpuReport::first() const {
  for (int i = 0; i < static_cast<int>(gpus.size()); ++i)
    if (why_not(i).empty()) return i;
  return {};
}

#if !PASSNORM_WITH_CUDA || PASSNORM_EMULATED
std::vector<GpuLibrary> gpu_libraries() { return {}; }
#endif

#if !PASSNORM_WITH_CUDA
GpuReport gpu_report() { return {.why_none = "this program was built without CUDA"}; }
#endif

}  // namespace passnorm
