#include <cmath>
#include <cstdint>

#include "kernels/cuda/block.cuh"
#include "kernels/cuda/chunk.cuh"
#include "kernels/cuda/pooling.cuh"
#include "kernels/pooling_common.hpp"

namespace passnorm::kernels {
namespace {

using gpu::Chunk;
using gpu::from_float;
using gpu::load_chunk;
using gpu::store_chunk;
using gpu::to_float;

constexpr int kThreads = 128;

// Max pooling: a block has a part of a row of windows (forward) or of positions (backward); x: row,
// y: part. A thread has W channels of one of them.
dim3 grid_of(int64_t rows, int64_t row_units) {
  return {static_cast<unsigned>(rows),
          static_cast<unsigned>(std::min<int64_t>(65535, gpu::ceil_div(row_units, kThreads)))};
}

/// kSize: as for_each_tap has it.
template <class T, int W, int kSize>
__global__ void __launch_bounds__(kThreads)
    max_pool_forward_kernel(Windows g, const T* x, T* y, uint8_t* argmax) {
  const int units = g.c / W;
  const int image = static_cast<int>(blockIdx.x) / g.oh;
  const int top = static_cast<int>(blockIdx.x) % g.oh * g.stride - g.pad;
  for (int unit = static_cast<int>(blockIdx.y * kThreads + threadIdx.x); unit < g.ow * units;
       unit += static_cast<int>(gridDim.y * kThreads)) {
    const int left = unit / units * g.stride - g.pad, c = unit % units * W;
    const T* from = x + int64_t{image} * g.h * g.w * g.c + c;
    float best[W];
    int index[W];
#pragma unroll
    for (int k = 0; k < W; ++k) best[k] = -INFINITY, index[k] = first_tap(g, top, left);
    for_each_tap<kSize>(g, top, left, [&](int row, int column, int tap, bool inside) {
      const Chunk<T, W> v = load_chunk<W>(from + (int64_t{row} * g.w + column) * g.c);
#pragma unroll
      for (int k = 0; k < W; ++k)
        if (inside && exceeds(to_float(v.v[k]), best[k]))
          best[k] = to_float(v.v[k]), index[k] = tap;
    });
    Chunk<T, W> value;
    Chunk<uint8_t, W> position;
#pragma unroll
    for (int k = 0; k < W; ++k) {
      value.v[k] = from_float<T>(best[k]);
      position.v[k] = static_cast<uint8_t>(index[k]);
    }
    const int64_t to = int64_t{blockIdx.x} * g.ow * g.c + int64_t{unit} * W;
    store_chunk(y + to, value);
    store_chunk(argmax + to, position);
  }
}

/// Gathers: each element of dx is written once, by the sum over the windows that contain it, in
/// row-major order.
template <class T, int W>
__global__ void __launch_bounds__(kThreads)
    max_pool_backward_kernel(Windows g, const T* dy, const uint8_t* argmax, T* dx,
                             bool accumulate) {
  const int units = g.c / W;
  const int image = static_cast<int>(blockIdx.x) / g.h;
  const int row = static_cast<int>(blockIdx.x) % g.h + g.pad;  // in the padded image
  const auto first_window = [&](int position) {
    return position < g.size ? 0 : (position - g.size) / g.stride + 1;
  };
  const int i0 = first_window(row), i1 = min(g.oh, row / g.stride + 1);
  for (int unit = static_cast<int>(blockIdx.y * kThreads + threadIdx.x); unit < g.w * units;
       unit += static_cast<int>(gridDim.y * kThreads)) {
    const int column = unit / units + g.pad, c = unit % units * W;
    const int j0 = first_window(column), j1 = min(g.ow, column / g.stride + 1);
    const int64_t to = int64_t{blockIdx.x} * g.w * g.c + int64_t{unit} * W;
    float sum[W] = {};
    if (accumulate) {
      const Chunk<T, W> before = load_chunk<W>(dx + to);
#pragma unroll
      for (int k = 0; k < W; ++k) sum[k] = to_float(before.v[k]);
    }
    for (int i = i0; i < i1; ++i)
      for (int j = j0; j < j1; ++j) {
        const int64_t from = ((int64_t{image} * g.oh + i) * g.ow + j) * g.c + c;
        const Chunk<T, W> gradient = load_chunk<W>(dy + from);
        const Chunk<uint8_t, W> position = load_chunk<W>(argmax + from);
        const int here = (row - i * g.stride) * g.size + column - j * g.stride;
#pragma unroll
        for (int k = 0; k < W; ++k)
          sum[k] += position.v[k] == here ? to_float(gradient.v[k]) : 0.0f;
      }
    Chunk<T, W> out;
#pragma unroll
    for (int k = 0; k < W; ++k) out.v[k] = from_float<T>(sum[k]);
    store_chunk(dx + to, out);
  }
}

// Pooling over all positions. A block has kColumns chunks of channels of one sample (x: sample,
// y: part of the channels); its kRows rows of threads share the positions.
constexpr int kColumns = 16, kRows = 16, kGlobalThreads = kColumns * kRows;
constexpr int kPositionsPerThread = 4;  // backward; z: part of the positions

struct Positions {
  int s, c;
};

dim3 global_grid(int64_t n, int64_t c, int64_t width, int64_t parts = 1) {
  const int64_t columns = gpu::ceil_div(c, width * kColumns);
  PASSNORM_CHECK(n <= INT32_MAX && columns <= 65535, n, " samples of ", c,
                 " channels are too many for one launch");
  return {static_cast<unsigned>(n), static_cast<unsigned>(columns),
          static_cast<unsigned>(std::min<int64_t>(65535, parts))};
}

/// W values, then the bits of their W positions. Rows of threads have every kRows-th position, so
/// of equal values (or of two NaNs) either may be the first.
struct MergeMaxima {
  template <int kValues>
  __device__ void operator()(float (&best)[kValues], const float (&other)[kValues]) const {
    constexpr int W = kValues / 2;
    for (int k = 0; k < W; ++k) {
      const bool equals = other[k] == best[k] || (other[k] != other[k] && best[k] != best[k]);
      const bool first = __float_as_int(other[W + k]) < __float_as_int(best[W + k]);
      if (equals ? first : exceeds(other[k], best[k]))
        best[k] = other[k], best[W + k] = other[W + k];
    }
  }
};

/// kMean: argmax is not written.
template <class T, int W, bool kMean>
__global__ void __launch_bounds__(kGlobalThreads)
    global_forward_kernel(Positions g, const T* x, T* y, int32_t* argmax) {
  constexpr int kKept = kMean ? W : 2 * W;
  __shared__ gpu::Shared<float, gpu::exchange_size(kKept, kColumns, kGlobalThreads)> exchange;
  const int column = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const int c = (static_cast<int>(blockIdx.y) * kColumns + column) * W;
  float kept[kKept] = {};  // sums, or what MergeMaxima has
  if constexpr (!kMean) {
#pragma unroll
    for (int k = 0; k < W; ++k) kept[k] = -INFINITY, kept[W + k] = __int_as_float(row);
  }
  if (c < g.c) {
    const T* from = x + int64_t{blockIdx.x} * g.s * g.c + c;
#pragma unroll 4
    for (int s = row; s < g.s; s += kRows) {
      const Chunk<T, W> v = load_chunk<W>(from + int64_t{s} * g.c);
#pragma unroll
      for (int k = 0; k < W; ++k) {
        if constexpr (kMean)
          kept[k] += to_float(v.v[k]);
        else if (exceeds(to_float(v.v[k]), kept[k]))
          kept[k] = to_float(v.v[k]), kept[W + k] = __int_as_float(s);
      }
    }
  }
  using Merge = std::conditional_t<kMean, gpu::AddFloats, MergeMaxima>;
  gpu::merge_rows(kept, kColumns, kRows, &exchange[0], Merge());
  if (row == 0 && c < g.c) {
    const int64_t to = int64_t{blockIdx.x} * g.c + c;
    Chunk<T, W> out;
#pragma unroll
    for (int k = 0; k < W; ++k)
      out.v[k] = from_float<T>(kMean ? kept[k] / static_cast<float>(g.s) : kept[k]);
    store_chunk(y + to, out);
    if constexpr (!kMean) {
      Chunk<int32_t, W> position;
#pragma unroll
      for (int k = 0; k < W; ++k) position.v[k] = __float_as_int(kept[W + k]);
      store_chunk(argmax + to, position);
    }
  }
}

template <class T, int W, bool kMean>
__global__ void __launch_bounds__(kGlobalThreads)
    global_backward_kernel(Positions g, const T* dy, const int32_t* argmax, T* dx,
                           bool accumulate) {
  const int row = static_cast<int>(blockIdx.z * kRows + threadIdx.y);
  const int c = static_cast<int>(blockIdx.y * kColumns + threadIdx.x) * W;
  if (c >= g.c) return;
  const int64_t from = int64_t{blockIdx.x} * g.c + c;
  const Chunk<T, W> gradient = load_chunk<W>(dy + from);
  Chunk<int32_t, W> position;
  if constexpr (!kMean) position = load_chunk<W>(argmax + from);
  float each[W];
#pragma unroll
  for (int k = 0; k < W; ++k)
    each[k] = kMean ? to_float(gradient.v[k]) / static_cast<float>(g.s) : to_float(gradient.v[k]);
#pragma unroll kPositionsPerThread
  for (int s = row; s < g.s; s += static_cast<int>(gridDim.z) * kRows) {
    T* to = dx + (int64_t{blockIdx.x} * g.s + s) * g.c + c;
    Chunk<T, W> before, out;
    if (accumulate) before = load_chunk<W>(to);
#pragma unroll
    for (int k = 0; k < W; ++k) {
      const float here = kMean || position.v[k] == s ? each[k] : 0.0f;
      out.v[k] = from_float<T>(accumulate ? to_float(before.v[k]) + here : here);
    }
    store_chunk(to, out);
  }
}

/// Calls f(T(), width): the type, and the width of a chunk of channels as a constant.
template <class F>
void visit_chunks(DType dtype, int64_t channels, std::initializer_list<const void*> addresses,
                  F&& f) {
  visit_storage(dtype, [&](auto zero) {
    constexpr int kWide = gpu::Pack<decltype(zero)>::kSize;
    gpu::visit_width<kWide>(gpu::divides<kWide>(channels, addresses),
                            [&](auto width) { f(zero, width); });
  });
}

template <bool kMean>
void global_forward(CudaStream& stream, const GlobalPoolForward& a) {
  check(a, !kMean);
  if (a.y.size == 0) return;
  visit_chunks(a.x.dtype, a.c, {a.x.data, a.y.data, a.argmax.data()}, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int W = width();
    gpu::launch(stream, global_forward_kernel<T, W, kMean>, global_grid(a.n, a.c, W),
                dim3(kColumns, kRows), 0, Positions{static_cast<int>(a.s), static_cast<int>(a.c)},
                a.x.as<T>(), a.y.as<T>(), a.argmax.data());
  });
}

template <bool kMean>
void global_backward(CudaStream& stream, const GlobalPoolBackward& a) {
  check(a, !kMean);
  if (a.dx.size == 0) return;
  visit_chunks(
      a.dy.dtype, a.c, {a.dy.data, a.dx.data, a.argmax.data()}, [&](auto zero, auto width) {
        using T = decltype(zero);
        constexpr int W = width();
        const dim3 grid = global_grid(a.n, a.c, W, gpu::ceil_div(a.s, kRows * kPositionsPerThread));
        gpu::launch(stream, global_backward_kernel<T, W, kMean>, grid, dim3(kColumns, kRows), 0,
                    Positions{static_cast<int>(a.s), static_cast<int>(a.c)}, a.dy.as<T>(),
                    a.argmax.data(), a.dx.as<T>(), a.accumulate);
      });
}

}  // namespace

void max_pool_forward(CudaStream& stream, const MaxPoolForward& a) {
  check(a);
  if (a.y.size == 0) return;
  const PoolGeometry& g = a.geometry;
  const Windows windows = windows_of(g);
  visit_chunks(a.x.dtype, g.c, {a.x.data, a.y.data, a.argmax.data()}, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int W = width();
    const auto kernel = g.size == 2   ? max_pool_forward_kernel<T, W, 2>
                        : g.size == 3 ? max_pool_forward_kernel<T, W, 3>
                                      : max_pool_forward_kernel<T, W, 0>;
    gpu::launch(stream, kernel, grid_of(g.n * g.oh(), g.ow() * g.c / W), dim3(kThreads), 0, windows,
                a.x.as<T>(), a.y.as<T>(), a.argmax.data());
  });
}

void max_pool_backward(CudaStream& stream, const MaxPoolBackward& a) {
  check(a);
  if (a.dx.size == 0) return;
  const PoolGeometry& g = a.geometry;
  const Windows windows = windows_of(g);
  visit_chunks(a.dy.dtype, g.c, {a.dy.data, a.dx.data, a.argmax.data()},
               [&](auto zero, auto width) {
                 using T = decltype(zero);
                 constexpr int W = width();
                 gpu::launch(stream, max_pool_backward_kernel<T, W>,
                             grid_of(g.n * g.h, g.w * g.c / W), dim3(kThreads), 0, windows,
                             a.dy.as<T>(), a.argmax.data(), a.dx.as<T>(), a.accumulate);
               });
}

void global_mean_forward(CudaStream& stream, const GlobalPoolForward& a) {
  global_forward<true>(stream, a);
}
void global_max_forward(CudaStream& stream, const GlobalPoolForward& a) {
  global_forward<false>(stream, a);
}
void global_mean_backward(CudaStream& stream, const GlobalPoolBackward& a) {
  global_backward<true>(stream, a);
}
void global_max_backward(CudaStream& stream, const GlobalPoolBackward& a) {
  global_backward<false>(stream, a);
}

}  // namespace passnorm::kernels
