// Products of many small matrices: PointNet's learned transforms of points and of their features
// (Qi et al., CVPR 2017).
#pragma once

#include <span>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// Sizes of `batches` products of [L, I] by [I, J]; I and J at most kMaxColumns. Either factor may
/// have half of the matrices: then products n and n + batches / 2 read the same (lanes).
struct BatchedMatmulGeometry {
  static constexpr int64_t kMaxColumns = 64;
  int64_t batches = 0;  ///< N, the larger of the numbers of matrices of x and of t
  int64_t l = 0, i = 0, j = 0;
};

/// y[n] = x[n] t[n], computed in f32.
struct BatchedMatmul {
  BatchedMatmulGeometry geometry;
  ConstView x;               ///< [N or N / 2, L, I] f32 | bf16 | f16
  std::span<const float> t;  ///< [N or N / 2, I, J]
  View y;                    ///< [N, L, J], the type of x
};
void batched_matmul(CpuStream& stream, const BatchedMatmul& a);
void batched_matmul(CudaStream& stream, const BatchedMatmul& a);

/// dx[n] = dy[n] t[n]', dt[n] = x[n]' dy[n]. The gradient of a factor that two products read is the
/// sum of theirs. Sums over L have an order that the sizes alone fix.
struct BatchedMatmulBackward {
  BatchedMatmulGeometry geometry;
  ConstView x;                 ///< [N or N / 2, L, I]
  std::span<const float> t;    ///< [N or N / 2, I, J]
  ConstView dy;                ///< [N, L, J], the type of x
  View dx{};                   ///< like x; empty = not wanted
  std::span<float> dt{};       ///< like t; empty = not wanted
  bool accumulate_dx = false;  ///< add to dx
  bool accumulate_dt = false;  ///< add to dt
};
void batched_matmul_backward(CpuStream& stream, const BatchedMatmulBackward& a);
void batched_matmul_backward(CudaStream& stream, const BatchedMatmulBackward& a);

}  // namespace passnorm::kernels
