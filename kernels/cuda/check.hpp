// What CUDA's status codes become.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/runtime/check.hpp"

namespace passnorm {

/// Memory has a fault of its own, and so have devices and drivers that are missing or cannot run
/// our kernels; all else is a broken contract.
inline Fault fault_of(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
      return Fault::kMemory;
    case cudaErrorNoDevice:
    case cudaErrorStubLibrary:
    case cudaErrorInsufficientDriver:
    case cudaErrorCallRequiresNewerDriver:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorSystemNotReady:  // NVSwitch without its fabric manager
    case cudaErrorInvalidDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidPtx:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorJitCompilerNotFound:
    case cudaErrorJitCompilationDisabled:
    case cudaErrorECCUncorrectable:
    case cudaErrorHardwareStackError:
      return Fault::kMachine;
    default:
      return Fault::kBug;
  }
}

inline void check_call(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) [[likely]]
    return;
  cudaGetLastError();  // it has been reported: later launches are not to blame
  fail(fault_of(status), file, ":", line, ": ", call, ": ", cudaGetErrorName(status), ", ",
       cudaGetErrorString(status));
}

}  // namespace passnorm

/// A call of the CUDA runtime, cuDNN or cuBLASLt that must succeed.
#define PASSNORM_CALL(call) ::passnorm::check_call((call), #call, __FILE__, __LINE__)
