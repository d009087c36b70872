#include "kernels/runtime/device.hpp"

#include "kernels/runtime/machine.hpp"

namespace passnorm {

Device Device::best() {
  const GpuReport report = gpu_report();
  return report.gpus.empty() || report.emulated ? cpu() : cuda();
}

#if !PASSNORM_WITH_CUDA || PASSNORM_EMULATED
std::vector<GpuLibrary> gpu_libraries() { return {}; }
#endif

#if !PASSNORM_WITH_CUDA
GpuReport gpu_report() { return {.why_none = "this program was built without CUDA"}; }
#endif

}  // namespace passnorm
