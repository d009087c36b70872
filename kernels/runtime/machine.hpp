// What the kernels of this build run with on this machine.
#pragma once

#include <string>
#include <vector>

#include "kernels/runtime/device.hpp"

namespace passnorm {

struct CpuKernels {
  std::vector<std::string> vectors;  ///< instruction sets of our own kernels, the best that the CPU
                                     ///< has (and they use) first
  std::string convolution;           ///< library and version
  std::string convolution_vectors;   ///< the instruction set it uses
};

CpuKernels cpu_kernels();

/// A library of NVIDIA's that the program opens when it is first needed.
struct GpuLibrary {
  std::string name;     ///< "cuDNN 9"
  std::string file;     ///< as it was opened; empty: it was not found
  std::string version;  ///< "9.19.0"
  std::string problem;  ///< one line: where it was looked for, and how to get it
};
/// Opens them: tens of milliseconds. None where this build needs none.
std::vector<GpuLibrary> gpu_libraries();

/// One line: why Device::best() is the CPU; empty where it is a GPU, which needs all libraries.
std::string why_cpu(const GpuReport& report, const std::vector<GpuLibrary>& libraries);
/// The same of this machine. Libraries are opened where there is a GPU.
std::string why_cpu();

}  // namespace passnorm
