#include "kernels/batched_matmul_common.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/batched_matmul.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/product-inl.hpp"
#include "kernels/runtime/parallel.hpp"
#include "kernels/runtime/scratch.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t kBlock = 64;                // rows of x at a time: with t they fit a first cache
constexpr int64_t kGrain = int64_t{1} << 18;  // multiplications worth a thread

/// Elements as f32: those of p, or copies of them in `copy`.
template <class T>
const float* as_f32(const T* p, int64_t n, float* copy) {
  if constexpr (std::is_same_v<T, float>) {
    return p;
  } else {
    for_vectors(0, n, [=](auto d, int64_t i) HWY_ATTR { store(d, load(d, p + i), copy + i); });
    return copy;
  }
}

template <class T>
void put(const float* from, int64_t n, T* to, bool accumulate) {
  for_vectors(0, n, [=](auto d, int64_t i) HWY_ATTR {
    const auto v = load(d, from + i);
    store(d, accumulate ? hn::Add(load(d, to + i), v) : v, to + i);
  });
}

/// y[n] = the sum over parts p of x[n'] m[n'], n' = n + p outputs modulo their numbers.
template <class T>
struct RowProducts {
  int64_t l, inner, columns;
  int64_t outputs, parts, xs, ms;
  const T* x;      // [xs, L, inner]
  const float* m;  // [ms, inner, columns]
  T* y;            // [outputs, L, columns]
  bool accumulate;
};

template <class T>
void multiply_all(CpuStream& stream, const RowProducts<T>& a) {
  const int64_t blocks = (a.l + kBlock - 1) / kBlock;
  const int64_t grain = std::max<int64_t>(1, kGrain / (kBlock * a.inner * a.columns));
  parallel_for(stream, a.outputs * blocks, grain, [&](int64_t begin, int64_t end) {
    const Scratch<float> copy(stream, kBlock * a.inner), result(stream, kBlock * a.columns);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t n = unit / blocks, first = unit % blocks * kBlock;
      const int64_t rows = std::min(kBlock, a.l - first);
      for (int64_t part = 0; part < a.parts; ++part) {
        const int64_t from = n + part * a.outputs;
        const T* x = a.x + ((from % a.xs) * a.l + first) * a.inner;
        multiply({as_f32(x, rows * a.inner, copy.data()), a.inner, 1},
                 a.m + from % a.ms * a.inner * a.columns, rows, a.inner, a.columns, result.data(),
                 part > 0);
      }
      put(result.data(), rows * a.columns, a.y + (n * a.l + first) * a.columns, a.accumulate);
    }
  });
}

void forward(CpuStream& stream, const BatchedMatmul& a) {
  const BatchedMatmulGeometry& g = a.geometry;
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    multiply_all<T>(stream, {.l = g.l,
                             .inner = g.i,
                             .columns = g.j,
                             .outputs = g.batches,
                             .parts = 1,
                             .xs = a.x.size / (g.l * g.i),
                             .ms = static_cast<int64_t>(a.t.size()) / (g.i * g.j),
                             .x = a.x.as<T>(),
                             .m = a.t.data(),
                             .y = a.y.as<T>(),
                             .accumulate = false});
  });
}

template <class T>
void backward_x(CpuStream& stream, const BatchedMatmulBackward& a) {
  const BatchedMatmulGeometry& g = a.geometry;
  const int64_t xs = a.x.size / (g.l * g.i), ts = static_cast<int64_t>(a.t.size()) / (g.i * g.j);
  const Scratch<float> transposed(stream, ts * g.i * g.j);
  parallel_for(stream, ts * g.j, std::max<int64_t>(1, 16384 / g.i),
               [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row) {  // of all transposed matrices
                   const float* t = a.t.data() + row / g.j * g.i * g.j + row % g.j;
                   for (int64_t i = 0; i < g.i; ++i) transposed.data()[row * g.i + i] = t[i * g.j];
                 }
               });
  multiply_all<T>(stream, {.l = g.l,
                           .inner = g.j,
                           .columns = g.i,
                           .outputs = xs,
                           .parts = g.batches / xs,
                           .xs = g.batches,
                           .ms = ts,
                           .x = a.dy.as<T>(),
                           .m = transposed.data(),
                           .y = a.dx.as<T>(),
                           .accumulate = a.accumulate_dx});
}

/// A thread has whole matrices: the order of a sum does not depend on the number of threads.
template <class T>
void backward_t(CpuStream& stream, const BatchedMatmulBackward& a) {
  const BatchedMatmulGeometry& g = a.geometry;
  const int64_t size = g.i * g.j;
  const int64_t xs = a.x.size / (g.l * g.i), ts = static_cast<int64_t>(a.t.size()) / size;
  const T* x = a.x.as<T>();
  const T* dy = a.dy.as<T>();
  const int64_t grain = std::max<int64_t>(1, kGrain / (g.batches / ts * g.l * size));
  parallel_for(stream, ts, grain, [&](int64_t begin, int64_t end) {
    const Scratch<float> x_copy(stream, kBlock * g.i), dy_copy(stream, kBlock * g.j),
        result(stream, size);
    for (int64_t n = begin; n < end; ++n) {
      bool accumulate = false;
      for (int64_t from = n; from < g.batches; from += ts)
        for (int64_t first = 0; first < g.l; first += kBlock, accumulate = true) {
          const int64_t rows = std::min(kBlock, g.l - first);
          const float* left =
              as_f32(x + (from % xs * g.l + first) * g.i, rows * g.i, x_copy.data());
          const float* right = as_f32(dy + (from * g.l + first) * g.j, rows * g.j, dy_copy.data());
          multiply({left, 1, g.i}, right, g.i, rows, g.j, result.data(), accumulate);
        }
      put(result.data(), size, a.dt.data() + n * size, a.accumulate_dt);
    }
  });
}

void backward(CpuStream& stream, const BatchedMatmulBackward& a) {
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (a.dx) backward_x<T>(stream, a);
    if (!a.dt.empty()) backward_t<T>(stream, a);
  });
}

}  // namespace
}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace passnorm::kernels {
namespace {

HWY_EXPORT(forward);
HWY_EXPORT(backward);
}  // namespace

void batched_matmul(CpuStream& stream, const BatchedMatmul& a) {
  check(a);
  HWY_DYNAMIC_DISPATCH(forward)(stream, a);
}

void batched_matmul_backward(CpuStream& stream, const BatchedMatmulBackward& a) {
  check(a);
  HWY_DYNAMIC_DISPATCH(backward)(stream, a);
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
