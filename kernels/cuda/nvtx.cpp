#include <nvtx3/nvToolsExt.h>

#include "kernels/runtime/trace.hpp"

namespace passnorm::trace {

Range::Range(const char* name) { nvtxRangePushA(name); }
Range::~Range() { nvtxRangePop(); }

}  // namespace passnorm::trace
