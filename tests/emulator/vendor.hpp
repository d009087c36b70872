// What stands in for cuDNN, cuBLASLt and Thrust: the CPU's kernels.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "kernels/runtime/cuda_stream.hpp"

namespace passnorm {

namespace emulator {
/// What tests let the libraries not offer: "forward", "forward, sums", "backward-data",
/// "backward-weight" of convolutions, "product" of matrices.
inline std::set<std::string>& not_offered() {
  static std::set<std::string> all;
  return all;
}
}  // namespace emulator

struct CudaStream::Vendor {
  explicit Vendor(CudaStream&) {}
  bool told_of_sums = false;  ///< a note says that they are not offered
  /// Made when used: programs that do not, link no oneDNN.
  CpuStream& cpu() {
    if (!cpu_) cpu_ = std::make_unique<CpuStream>();
    return static_cast<CpuStream&>(*cpu_);
  }

 private:
  std::unique_ptr<Stream> cpu_;
};

}  // namespace passnorm
