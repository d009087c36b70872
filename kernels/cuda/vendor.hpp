// NVIDIA's libraries behind a CUDA stream, each opened when it is first used.
#pragma once

#include <memory>

#include "kernels/runtime/cuda_stream.hpp"

namespace passnorm {

namespace kernels {
class Cudnn;
class CublasLt;
}  // namespace kernels

struct CudaStream::Vendor {
  explicit Vendor(CudaStream& stream);
  ~Vendor();
  Vendor(const Vendor&) = delete;
  Vendor& operator=(const Vendor&) = delete;

  kernels::Cudnn& cudnn();
  kernels::CublasLt& cublaslt();

 private:
  CudaStream& stream_;
  std::unique_ptr<kernels::Cudnn> cudnn_;
  std::unique_ptr<kernels::CublasLt> cublaslt_;
};

}  // namespace passnorm
