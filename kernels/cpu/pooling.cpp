#include "kernels/pooling_common.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pooling.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/simd-inl.hpp"
#include "kernels/runtime/parallel.hpp"
#include "kernels/runtime/scratch.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

template <class D>
using Int = hn::Rebind<int32_t, D>;

constexpr int64_t kGrain = 16384;  // elements worth a thread

int64_t rows_of(int64_t row) { return std::max<int64_t>(1, kGrain / row); }

/// Windows or positions [first, last) along one axis.
struct Range {
  int64_t first, last;
};

/// Lanes where v is the new maximum: larger, or the first NaN.
template <class D>
HWY_INLINE auto exceeds(D, hn::Vec<D> v, hn::Vec<D> best) {
  return hn::And(hn::Not(hn::Le(v, best)), hn::Eq(best, best));
}

template <class T>
void max_forward(CpuStream& stream, const MaxPoolForward& a) {
  const PoolGeometry& g = a.geometry;
  const int64_t oh = g.oh(), ow = g.ow();
  const T* x = a.x.as<T>();
  T* y = a.y.as<T>();
  auto inside = [&](int64_t output, int64_t size) {  // taps of a window that lie in the image
    const int64_t start = output * g.stride - g.pad;
    return Range{std::max<int64_t>(0, -start), std::min(g.size, size - start)};
  };
  parallel_for(stream, g.n * oh, rows_of(ow * g.c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / oh, i = row % oh;
      const Range vertical = inside(i, g.h);
      for (int64_t j = 0; j < ow; ++j) {
        const Range horizontal = inside(j, g.w);
        const T* corner = x + ((n * g.h + i * g.stride - g.pad) * g.w + j * g.stride - g.pad) * g.c;
        const int64_t to = (row * ow + j) * g.c;
        for_vectors(0, g.c, [&](auto d, int64_t c) HWY_ATTR {
          const Int<decltype(d)> di;
          auto tap = [&](int64_t p, int64_t q)
                         HWY_ATTR { return load(d, corner + (p * g.w + q) * g.c + c); };
          auto best = tap(vertical.first, horizontal.first);
          auto index =
              hn::Set(di, static_cast<int32_t>(vertical.first * g.size + horizontal.first));
          for (int64_t p = vertical.first; p < vertical.last; ++p)
            for (int64_t q = horizontal.first; q < horizontal.last; ++q) {
              const auto v = tap(p, q);
              // Image rows are short and come in turns, which the hardware does not foresee: the
              // same place of the next row of windows. Twice as fast.
              hwy::Prefetch(corner + ((p + g.stride) * g.w + q) * g.c + c);
              const auto take = exceeds(d, v, best);
              best = hn::IfThenElse(take, v, best);
              const auto position = hn::Set(di, static_cast<int32_t>(p * g.size + q));
              index = hn::IfThenElse(hn::RebindMask(di, take), position, index);
            }
          store(d, best, y + to + c);
          const hn::Rebind<uint8_t, decltype(d)> d8;
          hn::StoreU(hn::DemoteTo(d8, index), d8, a.argmax.data() + to + c);
        });
      }
    }
  });
}

// Gathers: each element of dx is written once, by the windows over it in row-major order, so
// overlapping windows need neither zeroed memory nor atomics.
template <class T>
void max_backward(CpuStream& stream, const MaxPoolBackward& a) {
  const PoolGeometry& g = a.geometry;
  const int64_t oh = g.oh(), ow = g.ow();
  const T* dy = a.dy.as<T>();
  T* dx = a.dx.as<T>();
  auto windows_over = [&](int64_t position, int64_t count) {
    const int64_t padded = position + g.pad;
    const int64_t first = padded < g.size ? 0 : (padded - g.size) / g.stride + 1;
    return Range{first, std::min(count, padded / g.stride + 1)};
  };
  parallel_for(stream, g.n * g.h, rows_of(g.w * g.c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / g.h, h = row % g.h;
      const Range vertical = windows_over(h, oh);
      for (int64_t w = 0; w < g.w; ++w) {
        const Range horizontal = windows_over(w, ow);
        T* to = dx + (row * g.w + w) * g.c;
        for_vectors(0, g.c, [&](auto d, int64_t c) HWY_ATTR {
          const Int<decltype(d)> di;
          const hn::Rebind<uint8_t, decltype(d)> d8;
          auto sum = a.accumulate ? load(d, to + c) : hn::Zero(d);
          for (int64_t i = vertical.first; i < vertical.last; ++i)
            for (int64_t j = horizontal.first; j < horizontal.last; ++j) {
              const int64_t from = ((n * oh + i) * ow + j) * g.c + c;
              const int64_t tap = (h + g.pad - i * g.stride) * g.size + w + g.pad - j * g.stride;
              const auto index = hn::PromoteTo(di, hn::LoadU(d8, a.argmax.data() + from));
              const auto here =
                  hn::RebindMask(d, hn::Eq(index, hn::Set(di, static_cast<int32_t>(tap))));
              sum = hn::Add(sum, hn::IfThenElseZero(here, load(d, dy + from)));
            }
          store(d, sum, to + c);
        });
      }
    }
  });
}

template <class T>
void mean_forward(CpuStream& stream, const GlobalPoolForward& a) {
  const T* x = a.x.as<T>();
  T* y = a.y.as<T>();
  parallel_for(stream, a.n, rows_of(a.s * a.c), [&](int64_t begin, int64_t end) {
    const Scratch<float> sums(stream,
                              a.c);  // positions outside, channels inside: x is read in order
    for (int64_t n = begin; n < end; ++n) {
      std::fill_n(sums.data(), a.c, 0.0f);
      for (int64_t s = 0; s < a.s; ++s)
        for_vectors(0, a.c, [&](auto d, int64_t c) HWY_ATTR {
          float* sum = sums.data() + c;
          store(d, hn::Add(load(d, sum), load(d, x + (n * a.s + s) * a.c + c)), sum);
        });
      for_vectors(0, a.c, [&](auto d, int64_t c) HWY_ATTR {
        store(d, hn::Div(load(d, sums.data() + c), hn::Set(d, static_cast<float>(a.s))),
              y + n * a.c + c);
      });
    }
  });
}

template <class T>
void max_over_positions(CpuStream& stream, const GlobalPoolForward& a) {
  const T* x = a.x.as<T>();
  T* y = a.y.as<T>();
  parallel_for(stream, a.n, rows_of(a.s * a.c), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      T* best = y + n * a.c;  // storage types keep a maximum exactly
      int32_t* argmax = a.argmax.data() + n * a.c;
      std::copy_n(x + n * a.s * a.c, a.c, best);
      std::fill_n(argmax, a.c, 0);
      constexpr int64_t kPositions = 4;  // at a time: so much less often the maxima are moved
      for (int64_t first = 1; first < a.s; first += kPositions) {
        const int64_t last = std::min(first + kPositions, a.s), stride = a.c;
        const T* row = x + (n * a.s + first) * stride;
        for_vectors(0, stride, [=](auto d, int64_t c) HWY_ATTR {
          const Int<decltype(d)> di;
          auto maximum = load(d, best + c);
          auto index = hn::LoadU(di, argmax + c);
          const T* from = row + c;
          for (int64_t s = first; s < last; ++s, from += stride) {
            const auto v = load(d, from);
            // The hardware does not foresee rows that are read in turns. Many times as fast.
            hwy::Prefetch(from + kPositions * stride);
            const auto take = exceeds(d, v, maximum);
            maximum = hn::IfThenElse(take, v, maximum);
            index = hn::IfThenElse(hn::RebindMask(di, take), hn::Set(di, static_cast<int32_t>(s)),
                                   index);
          }
          store(d, maximum, best + c);
          hn::StoreU(index, di, argmax + c);
        });
      }
    }
  });
}

template <class T>
void global_backward(CpuStream& stream, const GlobalPoolBackward& a) {
  const T* dy = a.dy.as<T>();
  T* dx = a.dx.as<T>();
  const bool mean = a.argmax.empty();
  parallel_for(stream, a.n * a.s, rows_of(a.c), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / a.s, s = row % a.s;
      for_vectors(0, a.c, [&](auto d, int64_t c) HWY_ATTR {
        const Int<decltype(d)> di;
        auto gradient = load(d, dy + n * a.c + c);
        if (mean) {
          gradient = hn::Div(gradient, hn::Set(d, static_cast<float>(a.s)));
        } else {
          const auto index = hn::LoadU(di, a.argmax.data() + n * a.c + c);
          const auto here = hn::RebindMask(d, hn::Eq(index, hn::Set(di, static_cast<int32_t>(s))));
          gradient = hn::IfThenElseZero(here, gradient);
        }
        T* to = dx + row * a.c + c;
        store(d, a.accumulate ? hn::Add(load(d, to), gradient) : gradient, to);
      });
    }
  });
}

void run_max_forward(CpuStream& stream, const MaxPoolForward& a) {
  visit_storage(a.x.dtype, [&](auto zero) { max_forward<decltype(zero)>(stream, a); });
}
void run_max_backward(CpuStream& stream, const MaxPoolBackward& a) {
  visit_storage(a.dy.dtype, [&](auto zero) { max_backward<decltype(zero)>(stream, a); });
}
void run_mean_forward(CpuStream& stream, const GlobalPoolForward& a) {
  visit_storage(a.x.dtype, [&](auto zero) { mean_forward<decltype(zero)>(stream, a); });
}
void run_max_over_positions(CpuStream& stream, const GlobalPoolForward& a) {
  visit_storage(a.x.dtype, [&](auto zero) { max_over_positions<decltype(zero)>(stream, a); });
}
void run_global_backward(CpuStream& stream, const GlobalPoolBackward& a) {
  visit_storage(a.dy.dtype, [&](auto zero) { global_backward<decltype(zero)>(stream, a); });
}

}  // namespace
}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace passnorm::kernels {
namespace {

HWY_EXPORT(run_max_forward);
HWY_EXPORT(run_max_backward);
HWY_EXPORT(run_mean_forward);
HWY_EXPORT(run_max_over_positions);
HWY_EXPORT(run_global_backward);
}  // namespace

void max_pool_forward(CpuStream& stream, const MaxPoolForward& a) {
  check(a);
  HWY_DYNAMIC_DISPATCH(run_max_forward)(stream, a);
}

void max_pool_backward(CpuStream& stream, const MaxPoolBackward& a) {
  check(a);
  HWY_DYNAMIC_DISPATCH(run_max_backward)(stream, a);
}

void global_mean_forward(CpuStream& stream, const GlobalPoolForward& a) {
  check(a, false);
  HWY_DYNAMIC_DISPATCH(run_mean_forward)(stream, a);
}

void global_max_forward(CpuStream& stream, const GlobalPoolForward& a) {
  check(a, true);
  HWY_DYNAMIC_DISPATCH(run_max_over_positions)(stream, a);
}

void global_mean_backward(CpuStream& stream, const GlobalPoolBackward& a) {
  check(a, false);
  HWY_DYNAMIC_DISPATCH(run_global_backward)(stream, a);
}

void global_max_backward(CpuStream& stream, const GlobalPoolBackward& a) {
  check(a, true);
  HWY_DYNAMIC_DISPATCH(run_global_backward)(stream, a);
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
