// The matrices of winograd.hpp, each applied to both sides of a tile, compiled once per instruction
// set (Highway's foreach_target).

// Highway includes this file again for every instruction set, so the guard is a toggle.
#if defined(PASSNORM_KERNELS_CPU_WINOGRAD_TRANSFORMS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef PASSNORM_KERNELS_CPU_WINOGRAD_TRANSFORMS_INL_HPP
#undef PASSNORM_KERNELS_CPU_WINOGRAD_TRANSFORMS_INL_HPP
#else
#define PASSNORM_KERNELS_CPU_WINOGRAD_TRANSFORMS_INL_HPP
#endif

#include "kernels/cpu/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {

inline constexpr int64_t kTile = 4;                   // outputs of a tile along one side
inline constexpr int64_t kPlanes = 36;                // of the transformed tile: 6 x 6 points
inline constexpr float kA = 0.625f, kB = 1.5f;        // the points 0, +-a, +-b, infinity
inline constexpr float kA2 = kA * kA, kB2 = kB * kB;  // exact
inline constexpr float kN0 = 1 / (kA2 * kB2);  // G's rows are scaled by 1 / prod (p - other points)
inline constexpr float kNa = 1 / (2 * kA2 * (kA2 - kB2)), kNb = 1 / (2 * kB2 * (kB2 - kA2));

using V = hn::Vec<Wide>;

// --- the one-dimensional transforms: from `in` with stride si to `out` with stride so

struct InputTransform {  // B^T
  static constexpr int kIn = 6, kOut = 6;
  static HWY_INLINE void apply(const V* in, int si, V* out, int so) {
    const Wide d;
    const V d0 = in[0], d1 = in[si], d2 = in[2 * si], d3 = in[3 * si], d4 = in[4 * si],
            d5 = in[5 * si];
    const V sum = hn::Set(d, kA2 + kB2), product = hn::Set(d, kA2 * kB2);
    const V even_a = hn::NegMulAdd(hn::Set(d, kB2), d2, d4);
    const V odd_a = hn::NegMulAdd(hn::Set(d, kB2), d1, d3);
    const V even_b = hn::NegMulAdd(hn::Set(d, kA2), d2, d4);
    const V odd_b = hn::NegMulAdd(hn::Set(d, kA2), d1, d3);
    out[0] = hn::MulAdd(product, d0, hn::NegMulAdd(sum, d2, d4));
    out[so] = hn::MulAdd(hn::Set(d, kA), odd_a, even_a);
    out[2 * so] = hn::NegMulAdd(hn::Set(d, kA), odd_a, even_a);
    out[3 * so] = hn::MulAdd(hn::Set(d, kB), odd_b, even_b);
    out[4 * so] = hn::NegMulAdd(hn::Set(d, kB), odd_b, even_b);
    out[5 * so] = hn::MulAdd(product, d1, hn::NegMulAdd(sum, d3, d5));
  }
};

struct OutputTransform {  // A^T
  static constexpr int kIn = 6, kOut = 4;
  static HWY_INLINE void apply(const V* in, int si, V* out, int so) {
    const Wide d;
    const V plus_a = hn::Add(in[si], in[2 * si]), minus_a = hn::Sub(in[si], in[2 * si]);
    const V plus_b = hn::Add(in[3 * si], in[4 * si]), minus_b = hn::Sub(in[3 * si], in[4 * si]);
    out[0] = hn::Add(in[0], hn::Add(plus_a, plus_b));
    out[so] = hn::MulAdd(hn::Set(d, kA), minus_a, hn::Mul(hn::Set(d, kB), minus_b));
    out[2 * so] = hn::MulAdd(hn::Set(d, kA2), plus_a, hn::Mul(hn::Set(d, kB2), plus_b));
    out[3 * so] = hn::MulAdd(hn::Set(d, kA2 * kA), minus_a,
                             hn::MulAdd(hn::Set(d, kB2 * kB), minus_b, in[5 * si]));
  }
};

struct OutputAdjoint {  // A
  static constexpr int kIn = 4, kOut = 6;
  static HWY_INLINE void apply(const V* in, int si, V* out, int so) {
    const Wide d;
    const V y0 = in[0], y1 = in[si], y2 = in[2 * si], y3 = in[3 * si];
    const V even_a = hn::MulAdd(hn::Set(d, kA2), y2, y0);
    const V odd_a = hn::MulAdd(hn::Set(d, kA2), y3, y1);
    const V even_b = hn::MulAdd(hn::Set(d, kB2), y2, y0);
    const V odd_b = hn::MulAdd(hn::Set(d, kB2), y3, y1);
    out[0] = y0;
    out[so] = hn::MulAdd(hn::Set(d, kA), odd_a, even_a);
    out[2 * so] = hn::NegMulAdd(hn::Set(d, kA), odd_a, even_a);
    out[3 * so] = hn::MulAdd(hn::Set(d, kB), odd_b, even_b);
    out[4 * so] = hn::NegMulAdd(hn::Set(d, kB), odd_b, even_b);
    out[5 * so] = y3;
  }
};

struct FilterTransform {  // G
  static constexpr int kIn = 3, kOut = 6;
  static HWY_INLINE void apply(const V* in, int si, V* out, int so) {
    const Wide d;
    const V g0 = in[0], g1 = in[si], g2 = in[2 * si];
    const V even_a = hn::Mul(hn::Set(d, kNa), hn::MulAdd(hn::Set(d, kA2), g2, g0));
    const V even_b = hn::Mul(hn::Set(d, kNb), hn::MulAdd(hn::Set(d, kB2), g2, g0));
    out[0] = hn::Mul(hn::Set(d, kN0), g0);
    out[so] = hn::MulAdd(hn::Set(d, kNa * kA), g1, even_a);
    out[2 * so] = hn::NegMulAdd(hn::Set(d, kNa * kA), g1, even_a);
    out[3 * so] = hn::MulAdd(hn::Set(d, kNb * kB), g1, even_b);
    out[4 * so] = hn::NegMulAdd(hn::Set(d, kNb * kB), g1, even_b);
    out[5 * so] = g2;
  }
};

struct FilterAdjoint {  // G^T
  static constexpr int kIn = 6, kOut = 3;
  static HWY_INLINE void apply(const V* in, int si, V* out, int so) {
    const Wide d;
    const V plus_a = hn::Mul(hn::Set(d, kNa), hn::Add(in[si], in[2 * si]));
    const V minus_a = hn::Mul(hn::Set(d, kNa), hn::Sub(in[si], in[2 * si]));
    const V plus_b = hn::Mul(hn::Set(d, kNb), hn::Add(in[3 * si], in[4 * si]));
    const V minus_b = hn::Mul(hn::Set(d, kNb), hn::Sub(in[3 * si], in[4 * si]));
    out[0] = hn::MulAdd(hn::Set(d, kN0), in[0], hn::Add(plus_a, plus_b));
    out[so] = hn::MulAdd(hn::Set(d, kA), minus_a, hn::Mul(hn::Set(d, kB), minus_b));
    out[2 * so] =
        hn::MulAdd(hn::Set(d, kA2), plus_a, hn::MulAdd(hn::Set(d, kB2), plus_b, in[5 * si]));
  }
};

/// T x T^T: `x` [kIn, kIn] to `y` [kOut, kOut], both row-major.
template <class T>
HWY_INLINE void transform(const V* x, V* y) {
  V columns[T::kOut * T::kIn];
  for (int j = 0; j < T::kIn; ++j) T::apply(x + j, T::kIn, columns + j, T::kIn);
  for (int i = 0; i < T::kOut; ++i) T::apply(columns + i * T::kIn, 1, y + i * T::kOut, 1);
}

}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PASSNORM_KERNELS_CPU_WINOGRAD_TRANSFORMS_INL_HPP
