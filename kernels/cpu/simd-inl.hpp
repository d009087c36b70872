// Vectors of float over f32, bf16 and f16 memory, compiled once per instruction set (Highway's
// foreach_target).

// Highway includes this file again for every instruction set, so the guard is a toggle.
#if defined(PASSNORM_KERNELS_CPU_SIMD_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef PASSNORM_KERNELS_CPU_SIMD_INL_HPP
#undef PASSNORM_KERNELS_CPU_SIMD_INL_HPP
#else
#define PASSNORM_KERNELS_CPU_SIMD_INL_HPP
#endif

#include <cstdint>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/runtime/dtype.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Wide = hn::ScalableTag<float>;
using Single = hn::CappedTag<float, 1>;

/// Calls f(tag, i) for i in [begin, end): whole vectors, then single elements, so that nothing past
/// the end is touched. Lambdas given to it carry HWY_ATTR: they do not inherit the instruction set
/// of their surroundings.
template <class F>
HWY_INLINE void for_vectors(int64_t begin, int64_t end, F&& f) {
  const Wide wide;
  const auto lanes = static_cast<int64_t>(hn::Lanes(wide));
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) f(wide, i);
  for (; i < end; ++i) f(Single(), i);
}

template <class D>
inline constexpr size_t kMaxLanes = hn::MaxLanes(D());

/// Where a vector of 16-bit values goes through the scalar conversions of dtype.hpp.
template <class D>
inline constexpr bool kScalarConversion =
    HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR || kMaxLanes<D> == 1;

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const float* p) {
  return hn::LoadU(d, p);
}

template <class D, class T>
HWY_INLINE hn::Vec<D> load(D d, const T* p) {
  if constexpr (kScalarConversion<D>) {
    HWY_ALIGN float lane[kMaxLanes<D>];
    for (size_t i = 0; i < hn::Lanes(d); ++i) lane[i] = static_cast<float>(p[i]);
    return hn::Load(d, lane);
  } else {
    const hn::Rebind<uint16_t, D> d16;
    const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(p));
    if constexpr (std::is_same_v<T, bfloat16>) {
      const hn::Rebind<uint32_t, D> d32;
      return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
    } else {
      return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, D>(), bits));
    }
  }
}

/// v as 16-bit storage of type T, rounded to nearest even.
template <class T, class D>
HWY_INLINE auto narrow([[maybe_unused]] D d, hn::Vec<D> v) {
  const hn::Rebind<uint16_t, D> d16;
  if constexpr (std::is_same_v<T, bfloat16>) {
    const hn::Rebind<uint32_t, D> d32;
    const auto u = hn::BitCast(d32, v);
    const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(d32, 1));
    const auto rounded = hn::Add(hn::Add(u, odd), hn::Set(d32, 0x7fff));
    const auto quiet =
        hn::Or(u, hn::Set(d32, 0x400000));  // rounding could turn a NaN into infinity
    const auto nan = hn::RebindMask(d32, hn::IsNaN(v));
    return hn::TruncateTo(d16, hn::ShiftRight<16>(hn::IfThenElse(nan, quiet, rounded)));
  } else {
    return hn::BitCast(d16, hn::DemoteTo(hn::Rebind<hwy::float16_t, D>(), v));
  }
}

template <class D>
HWY_INLINE void store(D d, hn::Vec<D> v, float* p) {
  hn::StoreU(v, d, p);
}

template <class D, class T>
HWY_INLINE void store(D d, hn::Vec<D> v, T* p) {
  if constexpr (kScalarConversion<D>) {
    HWY_ALIGN float lane[kMaxLanes<D>];
    hn::Store(v, d, lane);
    for (size_t i = 0; i < hn::Lanes(d); ++i) p[i] = T(lane[i]);
  } else {
    hn::StoreU(narrow<T>(d, v), hn::Rebind<uint16_t, D>(), reinterpret_cast<uint16_t*>(p));
  }
}

/// Stores past the caches. p must be aligned to the vector (`can_stream`); hwy::FlushStream() ends
/// a run of them.
template <class D>
HWY_INLINE void stream_store(D d, hn::Vec<D> v, float* p) {
  if constexpr (kMaxLanes<D> == 1)
    hn::StoreU(v, d, p);
  else
    hn::Stream(v, d, p);
}

template <class D, class T>
HWY_INLINE void stream_store(D d, hn::Vec<D> v, T* p) {
  if constexpr (kScalarConversion<D>)
    store(d, v, p);
  else
    hn::Stream(narrow<T>(d, v), hn::Rebind<uint16_t, D>(), reinterpret_cast<uint16_t*>(p));
}

/// Outputs of this size leave the caches before anybody reads them; smaller ones are better kept.
inline constexpr int64_t kStreamBytes = int64_t{8} << 20;

/// Rows of `row` elements from p on may be written by stream_store, and it pays.
template <class T>
bool can_stream(const T* p, int64_t row, int64_t size) {
  const size_t vector = hn::Lanes(Wide()) * sizeof(T);
  return size * static_cast<int64_t>(sizeof(T)) > kStreamBytes &&
         reinterpret_cast<uintptr_t>(p) % vector == 0 &&
         static_cast<size_t>(row) * sizeof(T) % vector == 0;
}

}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PASSNORM_KERNELS_CPU_SIMD_INL_HPP
