// Products of small matrices that stand in the caches, compiled once per instruction set (Highway's
// foreach_target).

// Highway includes this file again for every instruction set, so the guard is a toggle.
#if defined(PASSNORM_KERNELS_CPU_PRODUCT_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef PASSNORM_KERNELS_CPU_PRODUCT_INL_HPP
#undef PASSNORM_KERNELS_CPU_PRODUCT_INL_HPP
#else
#define PASSNORM_KERNELS_CPU_PRODUCT_INL_HPP
#endif

#include "kernels/cpu/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {

/// The left factor [rows, inner] of a product: its own matrix, or the transpose of one.
struct LeftFactor {
  const float* first;
  int64_t row_stride, inner_stride;
};

template <int kRows>
HWY_INLINE void multiply_rows(const LeftFactor& a, const float* b, int64_t inner, int64_t columns,
                              float* y, bool accumulate) {
  for_vectors(0, columns, [=](auto d, int64_t c) HWY_ATTR {
    hn::Vec<decltype(d)> sum[kRows];
    for (int r = 0; r < kRows; ++r)
      sum[r] = accumulate ? load(d, y + r * columns + c) : hn::Zero(d);
    for (int64_t k = 0; k < inner; ++k) {
      const auto v = load(d, b + k * columns + c);
      for (int r = 0; r < kRows; ++r)
        sum[r] = hn::MulAdd(hn::Set(d, a.first[r * a.row_stride + k * a.inner_stride]), v, sum[r]);
    }
    for (int r = 0; r < kRows; ++r) store(d, sum[r], y + r * columns + c);
  });
}

/// y [rows, columns] = a b, or y += a b, with b [inner, columns]. The order of a sum does not
/// depend on the number of rows.
inline void multiply(LeftFactor a, const float* b, int64_t rows, int64_t inner, int64_t columns,
                     float* y, bool accumulate) {
  constexpr int kRows = 8;  // sums under way: they hide the latency of an addition
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows)
    multiply_rows<kRows>({a.first + r * a.row_stride, a.row_stride, a.inner_stride}, b, inner,
                         columns, y + r * columns, accumulate);
  for (; r < rows; ++r)
    multiply_rows<1>({a.first + r * a.row_stride, a.row_stride, a.inner_stride}, b, inner, columns,
                     y + r * columns, accumulate);
}

}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PASSNORM_KERNELS_CPU_PRODUCT_INL_HPP
