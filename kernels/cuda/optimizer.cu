#include <algorithm>
#include <type_traits>

#include "kernels/cuda/block.cuh"
#include "kernels/cuda/walk.cuh"
#include "kernels/optimizer_common.hpp"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

using gpu::Chunk;
using gpu::kWalkThreads;
using gpu::load_chunk;
using gpu::Shared;
using gpu::store_chunk;
using gpu::walking_grid;
using gpu::with_width;

template <int W, class Copy>
__device__ __forceinline__ void store_weights(float* w, const View& copy, int64_t i,
                                              const Chunk<float, W>& x) {
  store_chunk(w + i, x);
  if constexpr (!std::is_void_v<Copy>) {
    Chunk<Copy, W> y;
    for (int k = 0; k < W; ++k) y.v[k] = gpu::from_float<Copy>(x.v[k]);
    store_chunk(static_cast<Copy*>(copy.data) + i, y);
  }
}

template <int kWide, class Copy, bool kMomentum>
__global__ void __launch_bounds__(kWalkThreads) sgd_step_kernel(const SgdStep a) {
  if (a.apply.get() == 0) return;
  const float lr = a.lr.get(), g_scale = a.g_scale.get();
  gpu::walk<kWide>(static_cast<int64_t>(a.w.size()), [&](auto width, int64_t i) {
    constexpr int W = decltype(width)::value;
    Chunk<float, W> w = load_chunk<W>(a.w.data() + i), b;
    const Chunk<float, W> g = load_chunk<W>(a.g.data() + i);
    if constexpr (kMomentum) b = load_chunk<W>(a.momentum_buffer.data() + i);
    for (int k = 0; k < W; ++k) {
      float step = a.weight_decay * w.v[k] + g_scale * g.v[k];
      if constexpr (kMomentum) {
        b.v[k] = a.momentum * b.v[k] + step;
        step = a.nesterov ? a.momentum * b.v[k] + step : b.v[k];
      }
      w.v[k] -= lr * step;
    }
    if constexpr (kMomentum) store_chunk(a.momentum_buffer.data() + i, b);
    store_weights<W, Copy>(a.w.data(), a.w_copy, i, w);
  });
}

/// log of the decay rates: 1 - beta^t = -expm1(t log beta) keeps its digits for beta near 1.
struct LogBetas {
  float beta1, beta2;
};

template <int kWide, class Copy>
__global__ void __launch_bounds__(kWalkThreads)
    adam_step_kernel(const AdamStep a, const LogBetas log) {
  if (a.apply.get() == 0) return;
  const float lr = a.lr.get(), g_scale = a.g_scale.get(), t = static_cast<float>(a.step.get());
  const float unbias1 = -1.0f / expm1f(t * log.beta1), unbias2 = -1.0f / expm1f(t * log.beta2);
  gpu::walk<kWide>(static_cast<int64_t>(a.w.size()), [&](auto width, int64_t i) {
    constexpr int W = decltype(width)::value;
    Chunk<float, W> w = load_chunk<W>(a.w.data() + i), m = load_chunk<W>(a.m.data() + i),
                    v = load_chunk<W>(a.v.data() + i);
    const Chunk<float, W> g = load_chunk<W>(a.g.data() + i);
    for (int k = 0; k < W; ++k) {
      const float gradient = a.weight_decay * w.v[k] + g_scale * g.v[k];
      m.v[k] = a.beta1 * m.v[k] + (1 - a.beta1) * gradient;
      v.v[k] = a.beta2 * v.v[k] + (1 - a.beta2) * (gradient * gradient);
      w.v[k] -= lr * (m.v[k] * unbias1 / (sqrtf(v.v[k] * unbias2) + a.eps));
    }
    store_chunk(a.m.data() + i, m);
    store_chunk(a.v.data() + i, v);
    store_weights<W, Copy>(a.w.data(), a.w_copy, i, w);
  });
}

template <int kWide>
__global__ void __launch_bounds__(kWalkThreads) restore_kernel(const Restore a) {
  if (a.apply.get() != 0) return;
  gpu::walk<kWide>(static_cast<int64_t>(a.y.size()), [&](auto width, int64_t i) {
    store_chunk(a.y.data() + i, load_chunk<decltype(width)::value>(a.kept.data() + i));
  });
}

// Squares overflow in f32 from 2^64 on: a second sum, of the elements times 2^-80, then gives the
// norm.
constexpr float kSmall = 0x1p-80f;

template <int kWide>
__global__ void __launch_bounds__(kWalkThreads)
    update_check_kernel(const UpdateCheck a, float* partial, unsigned* ticket) {
  float sum = 0, small_sum = 0;
  gpu::walk<kWide>(static_cast<int64_t>(a.g.size()), [&](auto width, int64_t i) {
    const auto g = load_chunk<decltype(width)::value>(a.g.data() + i);
    for (const float x : g.v) {
      sum += x * x;
      small_sum += (kSmall * x) * (kSmall * x);
    }
  });
  __shared__ Shared<float, gpu::exchange_size(2, 1, kWalkThreads)> exchange;
  float sums[2] = {sum, small_sum};
  gpu::merge_rows(sums, 1, kWalkThreads, &exchange[0], gpu::AddFloats{});
  const int thread = static_cast<int>(threadIdx.x), blocks = static_cast<int>(gridDim.x);
  if (thread == 0)
    for (int i = 0; i < 2; ++i) partial[i * blocks + static_cast<int>(blockIdx.x)] = sums[i];
  if (!gpu::is_last_block(ticket, gridDim.x)) return;
  for (int i = 0; i < 2; ++i) {
    sums[i] = 0;
    for (int k = thread; k < blocks; k += kWalkThreads) sums[i] += partial[i * blocks + k];
  }
  gpu::merge_rows(sums, 1, kWalkThreads, &exchange[0], gpu::AddFloats{});
  bool finite = true;
  for (const auto& losses : a.losses)
    for (size_t i = threadIdx.x; i < losses.size(); i += kWalkThreads)
      finite = finite && is_finite(losses.data()[i]);
  finite = __syncthreads_and(finite) != 0;
  if (thread != 0) return;
  const float norm = is_finite(sums[0]) ? sqrtf(sums[0]) : sqrtf(sums[1]) / kSmall;
  decide_update(*a.state, norm / a.state->loss_scale, finite, a.clip_norm, a.growth_interval);
}

template <class Copy>
struct CopyType {
  using type = Copy;
};
/// f(CopyType<T>) with the type of the 16-bit copy, or void.
template <class F>
void with_copy_type(const View& copy, F&& f) {
  if (!copy)
    f(CopyType<void>{});
  else if (copy.dtype == DType::kBF16)
    f(CopyType<bfloat16>{});
  else
    f(CopyType<float16>{});
}

}  // namespace

void sgd_step(CudaStream& stream, const SgdStep& a) {
  check(a);
  if (a.w.empty()) return;
  const dim3 grid = walking_grid(stream, a.w.size());
  with_copy_type(a.w_copy, [&](auto copy) {
    using Copy = typename decltype(copy)::type;
    with_width({a.w.data(), a.g.data(), a.momentum_buffer.data(), a.w_copy.data}, [&](auto width) {
      constexpr int W = decltype(width)::value;
      gpu::launch(stream,
                  a.momentum_buffer.empty() ? sgd_step_kernel<W, Copy, false>
                                            : sgd_step_kernel<W, Copy, true>,
                  grid, dim3(kWalkThreads), 0, a);
    });
  });
}

void adam_step(CudaStream& stream, const AdamStep& a) {
  check(a);
  if (a.w.empty()) return;
  const dim3 grid = walking_grid(stream, a.w.size());
  const auto log_of = [](float beta) {
    return static_cast<float>(std::log(static_cast<double>(beta)));
  };
  with_copy_type(a.w_copy, [&](auto copy) {
    using Copy = typename decltype(copy)::type;
    with_width({a.w.data(), a.g.data(), a.m.data(), a.v.data(), a.w_copy.data}, [&](auto width) {
      gpu::launch(stream, adam_step_kernel<decltype(width)::value, Copy>, grid, dim3(kWalkThreads),
                  0, a, LogBetas{log_of(a.beta1), log_of(a.beta2)});
    });
  });
}

void update_check(CudaStream& stream, const UpdateCheck& a) {
  // From the size alone: the norm has the same bits on every GPU.
  const int64_t blocks = std::clamp<int64_t>(
      gpu::ceil_div(static_cast<int64_t>(a.g.size()), 8 * kWalkThreads), 1, 1024);
  const Scratch<float> partial(stream, 2 * blocks);
  with_width({a.g.data()}, [&](auto width) {
    gpu::launch(stream, update_check_kernel<decltype(width)::value>,
                dim3(static_cast<unsigned>(blocks)), dim3(kWalkThreads), 0, a, partial.data(),
                stream.tickets());
  });
}

void restore(CudaStream& stream, const Restore& a) {
  check(a);
  if (a.y.empty()) return;
  with_width({a.kept.data(), a.y.data()}, [&](auto width) {
    gpu::launch(stream, restore_kernel<decltype(width)::value>, walking_grid(stream, a.y.size()),
                dim3(kWalkThreads), 0, a);
  });
}

}  // namespace passnorm::kernels
