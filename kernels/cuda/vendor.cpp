#include "kernels/cuda/vendor.hpp"

#include "kernels/cuda/cublaslt.hpp"
#include "kernels/cuda/cudnn.hpp"

namespace passnorm {

CudaStream::Vendor::Vendor(CudaStream& stream) : stream_(stream) {}
CudaStream::Vendor::~Vendor() = default;

kernels::Cudnn& CudaStream::Vendor::cudnn() {
  if (!cudnn_) cudnn_ = std::make_unique<kernels::Cudnn>(stream_);
  return *cudnn_;
}

kernels::CublasLt& CudaStream::Vendor::cublaslt() {
  if (!cublaslt_) cublaslt_ = std::make_unique<kernels::CublasLt>(stream_);
  return *cublaslt_;
}

}  // namespace passnorm
