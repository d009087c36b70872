// What the CPU kernels of this build run with on this machine.
#pragma once

#include <string>
#include <vector>

namespace passnorm {

struct CpuKernels {
  std::vector<std::string> vectors;  ///< instruction sets of our own kernels, the best that the CPU
                                     ///< has (and they use) first
  std::string convolution;           ///< library and version
  std::string convolution_vectors;   ///< the instruction set it uses
};

CpuKernels cpu_kernels();

}  // namespace passnorm
