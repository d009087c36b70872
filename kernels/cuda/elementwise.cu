#include <algorithm>
#include <limits>

#include "kernels/cuda/chunk.cuh"
#include "kernels/elementwise_common.hpp"

namespace passnorm::kernels {
namespace {

using gpu::Chunk;
using gpu::from_float;
using gpu::load_chunk;
using gpu::store_chunk;
using gpu::to_float;

constexpr int kThreads = 256;

// Each operation reads what W elements need, then computes and writes them: a thread has the
// operands of kUnroll chunks under way before it writes the first.

template <class T>
struct FillOp {
  static constexpr int kUnroll = 4;
  T* y;
  float value;
  template <int W>
  struct Operands {};
  template <int W>
  __device__ Operands<W> load(int64_t) const {
    return {};
  }
  template <int W>
  __device__ void store(int64_t i, const Operands<W>&) const {
    Chunk<T, W> out;
    for (int k = 0; k < W; ++k) out.v[k] = from_float<T>(value);
    store_chunk(y + i, out);
  }
};

template <class From, class To>
struct CastOp {
  static constexpr int kUnroll = 4;
  const From* x;
  To* y;
  template <int W>
  using Operands = Chunk<From, W>;
  template <int W>
  __device__ Operands<W> load(int64_t i) const {
    return load_chunk<W>(x + i);
  }
  template <int W>
  __device__ void store(int64_t i, const Operands<W>& from) const {
    Chunk<To, W> out;
    for (int k = 0; k < W; ++k) out.v[k] = from_float<To>(to_float(from.v[k]));
    store_chunk(y + i, out);
  }
};

template <class T>
struct AddToOp {
  static constexpr int kUnroll = 4;
  const T* x;
  T* y;
  float alpha;
  template <int W>
  struct Operands {
    Chunk<T, W> x, y;
  };
  template <int W>
  __device__ Operands<W> load(int64_t i) const {
    return {load_chunk<W>(x + i), load_chunk<W>(y + i)};
  }
  template <int W>
  __device__ void store(int64_t i, const Operands<W>& from) const {
    Chunk<T, W> out;
    for (int k = 0; k < W; ++k)
      out.v[k] = from_float<T>(fmaf(to_float(from.x.v[k]), alpha, to_float(from.y.v[k])));
    store_chunk(y + i, out);
  }
};

/// kParts 2: both halves of y in one walk, so that an operand that they share comes from memory
/// once. The second half's operands are `second_a` and `second_b` elements further on: n, or 0.
template <class T, int kParts>
struct AddOp {
  static constexpr int kUnroll = 4 / kParts;
  const T *a, *b;
  T* y;
  float floor;  // smaller sums become this: 0, or minus infinity
  int64_t second_a, second_b, second_y;
  template <int W>
  struct Operands {
    Chunk<T, W> a[kParts], b[kParts];
  };
  template <int W>
  __device__ Operands<W> load(int64_t i) const {
    Operands<W> from;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      from.a[part] = load_chunk<W>(a + part * second_a + i);
      from.b[part] = load_chunk<W>(b + part * second_b + i);
    }
    return from;
  }
  template <int W>
  __device__ void store(int64_t i, const Operands<W>& from) const {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      Chunk<T, W> out;
      for (int k = 0; k < W; ++k) {
        const float sum = to_float(from.a[part].v[k]) + to_float(from.b[part].v[k]);
        out.v[k] = from_float<T>(sum < floor ? floor : sum);  // not a maximum: NaN stays
      }
      store_chunk(y + part * second_y + i, out);
    }
  }
};

template <class T>
struct AddIdentityOp {
  static constexpr int kUnroll = 4;
  const T* x;
  T* y;
  int64_t size;  // of a matrix
  template <int W>
  using Operands = Chunk<T, W>;
  template <int W>
  __device__ Operands<W> load(int64_t i) const {
    return load_chunk<W>(x + i);
  }
  template <int W>
  __device__ void store(int64_t i, const Operands<W>& from) const {
    Chunk<T, W> out;
    for (int k = 0; k < W; ++k) {
      const bool diagonal = (i + k) % (size * size) % (size + 1) == 0;
      out.v[k] = from_float<T>(to_float(from.v[k]) + (diagonal ? 1.0f : 0.0f));
    }
    store_chunk(y + i, out);
  }
};

/// kParts 2: dx gets the sum of both halves.
template <class T, int kParts, bool kMasked>
struct ReluBackwardOp {
  static constexpr int kUnroll = 4 / kParts;
  const T *y, *dy;
  T* dx;
  bool accumulate;
  int64_t second;
  template <int W>
  struct Operands {
    Chunk<T, W> y[kMasked ? kParts : 1], dy[kParts], dx;
  };
  template <int W>
  __device__ Operands<W> load(int64_t i) const {
    Operands<W> from;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if constexpr (kMasked) from.y[part] = load_chunk<W>(y + part * second + i);
      from.dy[part] = load_chunk<W>(dy + part * second + i);
    }
    if (accumulate) from.dx = load_chunk<W>(dx + i);
    return from;
  }
  template <int W>
  __device__ void store(int64_t i, const Operands<W>& from) const {
    Chunk<T, W> out;
#pragma unroll
    for (int k = 0; k < W; ++k) {
      float sum = 0;
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        const float gradient = to_float(from.dy[part].v[k]);
        if constexpr (kMasked)
          sum += to_float(from.y[part].v[k]) <= 0 ? 0.0f : gradient;
        else
          sum += gradient;
      }
      if (accumulate) sum += to_float(from.dx.v[k]);
      out.v[k] = from_float<T>(sum);
    }
    store_chunk(dx + i, out);
  }
};

/// Elements [0, n) in chunks of W; those left over singly, by the last block. Two blocks: ptxas for
/// sm_80 spills to make room for more.
template <class Op, int W>
__global__ void __launch_bounds__(kThreads, 2) elementwise_kernel(Op op, int64_t n) {
  const int64_t first = int64_t{blockIdx.x} * (kThreads * Op::kUnroll) + threadIdx.x;
  typename Op::template Operands<W> from[Op::kUnroll];
#pragma unroll
  for (int u = 0; u < Op::kUnroll; ++u) {
    const int64_t i = (first + u * kThreads) * W;
    if (i + W <= n) from[u] = op.template load<W>(i);
  }
#pragma unroll
  for (int u = 0; u < Op::kUnroll; ++u) {
    const int64_t i = (first + u * kThreads) * W;
    if (i + W <= n) op.template store<W>(i, from[u]);
  }
  if constexpr (W > 1) {
    const int64_t i = n / W * W + threadIdx.x;
    if (blockIdx.x == gridDim.x - 1 && i < n) op.template store<1>(i, op.template load<1>(i));
  }
}

/// T: the narrowest type that op moves; addresses: of every operand and every second half.
template <class T, class Op>
void run(CudaStream& stream, const Op& op, int64_t n,
         std::initializer_list<const void*> addresses) {
  if (n == 0) return;
  const bool wide = std::all_of(addresses.begin(), addresses.end(), gpu::aligned);
  gpu::visit_width<gpu::Pack<T>::kSize>(wide, [&](auto width) {
    constexpr int W = width();
    const int64_t blocks = gpu::ceil_div(n, int64_t{W} * kThreads * Op::kUnroll);
    gpu::launch(stream, elementwise_kernel<Op, W>, dim3(static_cast<unsigned>(blocks)),
                dim3(kThreads), 0, op, n);
  });
}

/// Calls f with the number of parts as a constant: 2, or 1.
template <class F>
void visit_parts(bool halves, F&& f) {
  halves ? f(std::integral_constant<int, 2>()) : f(std::integral_constant<int, 1>());
}

}  // namespace

void fill(CudaStream& stream, const Fill& a) {
  visit_storage(a.y.dtype, [&](auto zero) {
    using T = decltype(zero);
    run<T>(stream, FillOp<T>{a.y.as<T>(), a.value}, a.y.size, {a.y.data});
  });
}

void cast(CudaStream& stream, const Cast& a) {
  check(a);
  visit_storage(a.x.dtype, [&](auto from) {
    visit_storage(a.y.dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      using Narrow = std::conditional_t<(sizeof(From) < sizeof(To)), From, To>;
      run<Narrow>(stream, CastOp<From, To>{a.x.as<From>(), a.y.as<To>()}, a.y.size,
                  {a.x.data, a.y.data});
    });
  });
}

void add_to(CudaStream& stream, const AddTo& a) {
  check(a);
  visit_storage(a.y.dtype, [&](auto zero) {
    using T = decltype(zero);
    run<T>(stream, AddToOp<T>{a.x.as<T>(), a.y.as<T>(), a.alpha}, a.y.size, {a.x.data, a.y.data});
  });
}

void add(CudaStream& stream, const Add& a) {
  check(a);
  const bool half_a = a.a.size != a.y.size, half_b = a.b.size != a.y.size;
  const float floor = a.relu ? 0.0f : -std::numeric_limits<float>::infinity();
  visit_storage(a.y.dtype, [&](auto zero) {
    visit_parts(half_a || half_b, [&](auto parts) {
      using T = decltype(zero);
      constexpr int kParts = parts();
      const T *x0 = a.a.as<T>(), *x1 = a.b.as<T>();
      T* y = a.y.as<T>();
      const int64_t n = a.y.size / kParts, second = kParts > 1 ? n : 0;
      run<T>(stream,
             AddOp<T, kParts>{x0, x1, y, floor, half_a ? 0 : second, half_b ? 0 : second, second},
             n, {x0, x1, y, y + second});
    });
  });
}

void add_identity(CudaStream& stream, const AddIdentity& a) {
  check(a);
  visit_storage(a.y.dtype, [&](auto zero) {
    using T = decltype(zero);
    run<T>(stream, AddIdentityOp<T>{a.x.as<T>(), a.y.as<T>(), a.size}, a.y.size,
           {a.x.data, a.y.data});
  });
}

namespace {

template <class T, bool kMasked>
void relu_backward_typed(CudaStream& stream, const ReluBackward& a) {
  visit_parts(a.dx.size != a.dy.size, [&](auto parts) {
    constexpr int kParts = parts();
    const T *y = kMasked ? a.y.as<T>() : nullptr, *dy = a.dy.as<T>();
    T* dx = a.dx.as<T>();
    const int64_t n = a.dx.size, second = kParts > 1 ? n : 0;
    run<T>(stream, ReluBackwardOp<T, kParts, kMasked>{y, dy, dx, a.accumulate, second}, n,
           {y, dy, dy + second, dx});
  });
}

}  // namespace

void relu_backward(CudaStream& stream, const ReluBackward& a) {
  check(a);
  visit_storage(a.dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    a.y ? relu_backward_typed<T, true>(stream, a) : relu_backward_typed<T, false>(stream, a);
  });
}

}  // namespace passnorm::kernels
