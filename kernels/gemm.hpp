// Matrix products of row-major matrices.
#pragma once

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// y = op(a) op(b) + beta y, with op(a) [M, K] and op(b) [K, N]; f32.
struct Gemm {
  int64_t m = 0, n = 0, k = 0;
  ConstView a;  ///< [M, K], or [K, M] when transpose_a
  ConstView b;  ///< [K, N], or [N, K] when transpose_b
  View y;       ///< [M, N]
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;  ///< beta = 1, else 0
};
/// What both check first: sizes that agree.
void check_gemm(const Gemm& a);
void gemm(CpuStream& stream, const Gemm& a);
void gemm(CudaStream& stream, const Gemm& a);

}  // namespace passnorm::kernels
