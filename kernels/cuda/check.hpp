// What CUDA's status codes become.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/runtime/check.hpp"

namespace passnorm {

/// Memory and missing devices have faults of their own; all else is a broken contract.
inline Fault fault_of(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
      return Fault::kMemory;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorInvalidDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoKernelImageForDevice:
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
