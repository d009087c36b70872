#include "kernels/gemm.hpp"

#include "kernels/cuda/cublaslt.hpp"
#include "kernels/cuda/vendor.hpp"

namespace passnorm::kernels {

void gemm(CudaStream& stream, const Gemm& a) {
  check_gemm(a);
  stream.vendor().cublaslt().multiply(
      {.m = a.m,
       .n = a.n,
       .k = a.k,
       .transpose_a = a.transpose_a,
       .transpose_b = a.transpose_b,
       .accumulate = a.accumulate},
      {.a = a.a.as<float>(), .b = a.b.as<float>(), .bias = nullptr, .y = a.y.as<float>()});
}

}  // namespace passnorm::kernels
