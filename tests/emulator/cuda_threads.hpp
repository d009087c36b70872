// What CUDA threads do together, for a host compiler: barriers, warp intrinsics, fences, atomics.
#pragma once

#include <atomic>
#include <bit>
#include <concepts>
#include <cstring>
#include <type_traits>

#include "tests/emulator/machine.hpp"

namespace passnorm::emulator {

inline constexpr int warpSize = 32;

inline void __syncthreads(Where where = Where::current()) {
  block_barrier(Reduction::kNone, false, where);
}
inline int __syncthreads_count(int predicate, Where where = Where::current()) {
  return block_barrier(Reduction::kCount, predicate != 0, where);
}
inline int __syncthreads_and(int predicate, Where where = Where::current()) {
  return block_barrier(Reduction::kAnd, predicate != 0, where);
}
inline int __syncthreads_or(int predicate, Where where = Where::current()) {
  return block_barrier(Reduction::kOr, predicate != 0, where);
}

inline void __syncwarp(unsigned mask = ~0u, Where where = Where::current()) {
  warp_barrier(mask, where);
}
inline unsigned __ballot_sync(unsigned mask, int vote, Where where = Where::current()) {
  return warp_ballot(mask, vote != 0, where);
}
inline int __any_sync(unsigned mask, int vote, Where where = Where::current()) {
  return __ballot_sync(mask, vote, where) != 0;
}
inline int __all_sync(unsigned mask, int vote, Where where = Where::current()) {
  return __ballot_sync(mask, !vote, where) == 0;
}

/// The value of `source`, or one's own where that is outside the segment of `width` lanes.
template <class T>
T shuffle(unsigned mask, T value, int source, bool inside, const Where& where) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = warp_shuffle(mask, bits, inside ? static_cast<unsigned>(source) : lane_index, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, Where where = Where::current()) {
  const int segment = static_cast<int>(lane_index) & ~(width - 1);
  return shuffle(mask, value, segment | (source & (width - 1)), true, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   Where where = Where::current()) {
  const int lane = static_cast<int>(lane_index), d = static_cast<int>(delta);
  return shuffle(mask, value, lane + d, (lane & (width - 1)) + d < width, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 Where where = Where::current()) {
  const int lane = static_cast<int>(lane_index), d = static_cast<int>(delta);
  return shuffle(mask, value, lane - d, (lane & (width - 1)) >= d, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32,
                  Where where = Where::current()) {
  const int lane = static_cast<int>(lane_index), source = lane ^ flip;
  return shuffle(mask, value, source, source < (lane & ~(width - 1)) + width, where);
}

/// __reduce_*_sync: one shuffle per lane.
template <class T, class F>
T reduce(unsigned mask, T value, F combine, const Where& where) {
  T result = __shfl_sync(mask, value, std::countr_zero(mask), 32, where);
  for (unsigned rest = mask & (mask - 1); rest != 0; rest &= rest - 1)
    result = combine(result, __shfl_sync(mask, value, std::countr_zero(rest), 32, where));
  return result;
}
template <class T>
concept WarpReducible = std::same_as<T, int> || std::same_as<T, unsigned>;

template <WarpReducible T>
T __reduce_add_sync(unsigned mask, T value, Where where = Where::current()) {
  return reduce(
      mask, value, [](T a, T b) { return a + b; }, where);
}
template <WarpReducible T>
T __reduce_min_sync(unsigned mask, T value, Where where = Where::current()) {
  return reduce(
      mask, value, [](T a, T b) { return b < a ? b : a; }, where);
}
template <WarpReducible T>
T __reduce_max_sync(unsigned mask, T value, Where where = Where::current()) {
  return reduce(
      mask, value, [](T a, T b) { return a < b ? b : a; }, where);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, Where where = Where::current()) {
  return reduce(
      mask, value, [](unsigned a, unsigned b) { return a | b; }, where);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, Where where = Where::current()) {
  return reduce(
      mask, value, [](unsigned a, unsigned b) { return a & b; }, where);
}

inline void __threadfence() { fence(Scope::kDevice); }
inline void __threadfence_block() { fence(Scope::kBlock); }

/// Whole numbers only: the sum of floats would depend on the order of arrival.
template <class T>
concept Atomic =
    std::same_as<T, int> || std::same_as<T, unsigned> || std::same_as<T, unsigned long long>;

/// Relaxed, as CUDA's are.
template <Atomic T, class F>
T atomic(T* at, F change) {
  before_atomic();
  const std::atomic_ref<T> value(*at);
  T old = value.load(std::memory_order_relaxed);
  while (!value.compare_exchange_weak(old, change(old), std::memory_order_relaxed)) {
  }
  return old;
}

template <class T>
T atomicAdd(T* at, std::type_identity_t<T> x) {
  return atomic(at, [&](T old) { return old + x; });
}
template <class T>
T atomicSub(T* at, std::type_identity_t<T> x) {
  return atomic(at, [&](T old) { return old - x; });
}
template <class T>
T atomicMax(T* at, std::type_identity_t<T> x) {
  return atomic(at, [&](T old) { return old < x ? x : old; });
}
template <class T>
T atomicMin(T* at, std::type_identity_t<T> x) {
  return atomic(at, [&](T old) { return x < old ? x : old; });
}
template <class T>
T atomicAnd(T* at, std::type_identity_t<T> x) {
  return atomic(at, [&](T old) { return old & x; });
}
template <class T>
T atomicOr(T* at, std::type_identity_t<T> x) {
  return atomic(at, [&](T old) { return old | x; });
}
template <class T>
T atomicExch(T* at, std::type_identity_t<T> x) {
  return atomic(at, [&](T) { return x; });
}
template <class T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> x) {
  return atomic(at, [&](T old) { return old == expected ? x : old; });
}
inline unsigned atomicInc(unsigned* at, unsigned last) {
  return atomic(at, [&](unsigned old) { return old >= last ? 0 : old + 1; });
}
inline unsigned atomicDec(unsigned* at, unsigned last) {
  return atomic(at, [&](unsigned old) { return old == 0 || old > last ? last : old - 1; });
}

}  // namespace passnorm::emulator

// CUDA has these names in no namespace.
using passnorm::emulator::__all_sync;
using passnorm::emulator::__any_sync;
using passnorm::emulator::__ballot_sync;
using passnorm::emulator::__reduce_add_sync;
using passnorm::emulator::__reduce_and_sync;
using passnorm::emulator::__reduce_max_sync;
using passnorm::emulator::__reduce_min_sync;
using passnorm::emulator::__reduce_or_sync;
using passnorm::emulator::__shfl_down_sync;
using passnorm::emulator::__shfl_sync;
using passnorm::emulator::__shfl_up_sync;
using passnorm::emulator::__shfl_xor_sync;
using passnorm::emulator::__syncthreads;
using passnorm::emulator::__syncthreads_and;
using passnorm::emulator::__syncthreads_count;
using passnorm::emulator::__syncthreads_or;
using passnorm::emulator::__syncwarp;
using passnorm::emulator::__threadfence;
using passnorm::emulator::__threadfence_block;
using passnorm::emulator::atomicAdd;
using passnorm::emulator::atomicAnd;
using passnorm::emulator::atomicCAS;
using passnorm::emulator::atomicDec;
using passnorm::emulator::atomicExch;
using passnorm::emulator::atomicInc;
using passnorm::emulator::atomicMax;
using passnorm::emulator::atomicMin;
using passnorm::emulator::atomicOr;
using passnorm::emulator::atomicSub;
using passnorm::emulator::warpSize;
