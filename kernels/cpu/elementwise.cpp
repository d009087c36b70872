#include "kernels/elementwise_common.hpp"

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/simd-inl.hpp"
#include "kernels/runtime/parallel.hpp"

#ifndef PASSNORM_KERNELS_CPU_ELEMENTWISE_CPP
#define PASSNORM_KERNELS_CPU_ELEMENTWISE_CPP
namespace passnorm::kernels {
constexpr int64_t kElementwiseGrain = 16384;  // elements worth a thread
}
#endif

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

void cast_on(CpuStream& stream, const Cast& a) {
  visit_storage(a.x.dtype, [&](auto from) {
    visit_storage(a.y.dtype, [&](auto to) {
      const auto* x = a.x.as<decltype(from)>();
      auto* y = a.y.as<decltype(to)>();
      parallel_for(stream, a.y.size, kElementwiseGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
        for_vectors(begin, end,
                    [=](auto d, int64_t i) HWY_ATTR { store(d, load(d, x + i), y + i); });
      });
    });
  });
}

void add_to_on(CpuStream& stream, const AddTo& a) {
  visit_storage(a.y.dtype, [&](auto zero) {
    const auto* x = a.x.as<decltype(zero)>();
    auto* y = a.y.as<decltype(zero)>();
    const float alpha = a.alpha;
    parallel_for(stream, a.y.size, kElementwiseGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
      for_vectors(begin, end, [=](auto d, int64_t i) HWY_ATTR {
        store(d, hn::MulAdd(load(d, x + i), hn::Set(d, alpha), load(d, y + i)), y + i);
      });
    });
  });
}

template <class T, bool kRelu>
void add_typed(CpuStream& stream, const Add& a) {
  const T* x0 = a.a.as<T>();
  const T* x1 = a.b.as<T>();
  T* y = a.y.as<T>();
  const bool half0 = a.a.size != a.y.size, half1 = a.b.size != a.y.size;
  // Both halves of y in one walk: an operand that they share is read from memory once.
  const int64_t parts = half0 || half1 ? 2 : 1, n = a.y.size / parts;
  constexpr int64_t kTile = 4096;
  parallel_for(stream, n, kElementwiseGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t first = begin; first < end; first += kTile)
      for (int64_t part = 0; part < parts; ++part) {
        const T* p0 = x0 + (half0 ? 0 : part * n);
        const T* p1 = x1 + (half1 ? 0 : part * n);
        T* out = y + part * n;
        for_vectors(first, std::min(end, first + kTile), [=](auto d, int64_t i) HWY_ATTR {
          auto v = hn::Add(load(d, p0 + i), load(d, p1 + i));
          if constexpr (kRelu)
            v = hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);  // not a maximum: NaN stays
          store(d, v, out + i);
        });
      }
  });
}

void add_on(CpuStream& stream, const Add& a) {
  visit_storage(a.y.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (a.relu)
      add_typed<T, true>(stream, a);
    else
      add_typed<T, false>(stream, a);
  });
}

template <class T, bool kMasked, bool kHalf>
void relu_backward_typed(CpuStream& stream, const ReluBackward& a) {
  const T* y = kMasked ? a.y.as<T>() : nullptr;
  const T* dy = a.dy.as<T>();
  T* dx = a.dx.as<T>();
  const int64_t n = a.dx.size;
  const bool accumulate = a.accumulate;
  parallel_for(stream, n, kElementwiseGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    for_vectors(begin, end, [=](auto d, int64_t i) HWY_ATTR {
      auto v = hn::Zero(d);
      for (int64_t part = 0; part < (kHalf ? 2 : 1); ++part) {
        auto g = load(d, dy + part * n + i);
        if constexpr (kMasked)
          g = hn::IfThenZeroElse(hn::Le(load(d, y + part * n + i), hn::Zero(d)), g);
        v = hn::Add(v, g);
      }
      if (accumulate) v = hn::Add(v, load(d, dx + i));
      store(d, v, dx + i);
    });
  });
}

void relu_backward_on(CpuStream& stream, const ReluBackward& a) {
  visit_storage(a.dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (a.dx.size == a.dy.size)
      a.y ? relu_backward_typed<T, true, false>(stream, a)
          : relu_backward_typed<T, false, false>(stream, a);
    else
      a.y ? relu_backward_typed<T, true, true>(stream, a)
          : relu_backward_typed<T, false, true>(stream, a);
  });
}

}  // namespace
}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace passnorm::kernels {
namespace {

HWY_EXPORT(cast_on);
HWY_EXPORT(add_to_on);
HWY_EXPORT(add_on);
HWY_EXPORT(relu_backward_on);
}  // namespace

void fill(CpuStream& stream, const Fill& a) {
  visit_storage(a.y.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* y = a.y.as<T>();
    const T value(a.value);
    parallel_for(stream, a.y.size, kElementwiseGrain,
                 [=](int64_t begin, int64_t end) { std::fill(y + begin, y + end, value); });
  });
}

void cast(CpuStream& stream, const Cast& a) {
  check(a);
  HWY_DYNAMIC_DISPATCH(cast_on)(stream, a);
}

void add_to(CpuStream& stream, const AddTo& a) {
  check(a);
  HWY_DYNAMIC_DISPATCH(add_to_on)(stream, a);
}

void add(CpuStream& stream, const Add& a) {
  check(a);
  HWY_DYNAMIC_DISPATCH(add_on)(stream, a);
}

void add_identity(CpuStream& stream, const AddIdentity& a) {
  check(a);
  visit_storage(a.y.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = a.x.as<T>();
    T* y = a.y.as<T>();
    parallel_for(stream, a.y.size / a.size, std::max<int64_t>(1, kElementwiseGrain / a.size),
                 [=, j = a.size](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) {
                     std::copy_n(x + row * j, j, y + row * j);
                     T& diagonal = y[row * j + row % j];
                     diagonal = T(static_cast<float>(diagonal) + 1);
                   }
                 });
  });
}

void relu_backward(CpuStream& stream, const ReluBackward& a) {
  check(a);
  HWY_DYNAMIC_DISPATCH(relu_backward_on)(stream, a);
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
