#include "kernels/runtime/device.hpp"

namespace passnorm {

Device Device::best() { return gpu_report().gpus.empty() ? cpu() : cuda(); }

#if !PASSNORM_WITH_CUDA
GpuReport gpu_report() { return {.why_none = "this program was built without CUDA"}; }
#endif

}  // namespace passnorm
