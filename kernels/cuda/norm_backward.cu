#include "kernels/cuda/norm.cuh"
#include "kernels/cuda/norm_backward.hpp"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksOfProcessor = 2;

template <class T>
struct BackwardArguments {
  const T* x;    ///< [B, R, C]
  const T* dy;   ///< [B, R, C], in a fork [2, B, R, C]
  const T* y;    ///< as dy, where the mask is read from it
  T* dx;         ///< as x, or null
  T* dresidual;  ///< [residual_rows, C], or null
  Lane lane[2];
  NormTerms terms;
  int64_t blocks;
  int64_t second_lane;          ///< without a fork: the first block of lane 1
  int64_t residual_rows;        ///< all rows of dy, or half of them
  int64_t first_row, last_row;  ///< of x: what this call does
  int rows, channels;
  Groups groups;
  float floor;  ///< the gradient passes where the activation's argument is above this
  bool accumulate_dx, accumulate_dresidual;
  bool dresidual_is_dy;  ///< not g
};

/// to = x, or to += x.
template <class T, int kWidth>
__device__ __forceinline__ void put(T* to, float (&x)[kWidth], bool accumulate) {
  if (accumulate) {
    const auto before = gpu::load_chunk<kWidth>(to);
    for (int i = 0; i < kWidth; ++i) x[i] += at(before, i);
  }
  store_floats(to, x);
}

template <class T, int kWidth, bool kFork, bool kMaskByY>
__global__ void __launch_bounds__(kThreads, kBlocksOfProcessor)
    norm_backward_kernel(const __grid_constant__ BackwardArguments<T> a) {
  constexpr int kLanes = kFork ? 2 : 1, kUnroll = kFork && kMaskByY ? 1 : 2;
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kWidth;
  if (c >= a.channels) return;
  const int stride = static_cast<int>(gridDim.y * blockDim.y);
  const int64_t x_rows = a.blocks * a.rows;
  for (int64_t block = int64_t{blockIdx.z} * blockDim.z + threadIdx.z; block < a.blocks;
       block += int64_t{gridDim.z} * blockDim.z) {
    const int64_t begin = max(a.first_row - block * a.rows, int64_t{0});
    const int64_t end = min(a.last_row - block * a.rows, int64_t{a.rows});
    if (begin >= end) continue;
    float multiplier[kLanes][kWidth], addend[kLanes][kWidth], slope[kWidth] = {},
                                                              constant[kWidth] = {};
    const Lane& own = !kFork && block >= a.second_lane ? a.lane[1] : a.lane[0];
    for (int l = 0; l < kLanes; ++l)
      coefficients(l == 0 ? own : a.lane[1], a.groups, block, c, multiplier[l], addend[l]);
    if (a.terms.slope != nullptr)
      for (int i = 0; i < kWidth; ++i) {
        const int64_t statistic = block * a.groups.count + a.groups.of(c, i);
        slope[i] = a.terms.slope[statistic];
        constant[i] = a.terms.constant[statistic];
      }
    const int last = static_cast<int>(end) - 1;
    for (int row = static_cast<int>(begin + blockIdx.y * blockDim.y + threadIdx.y); row <= last;
         row += kUnroll * stride) {
      gpu::Chunk<T, kWidth> x[kUnroll], dy[kUnroll][kLanes], y[kMaskByY ? kUnroll : 1][kLanes];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        // Past the end the last row again: all loads are under way together.
        const int64_t at_row = block * a.rows + min(row + u * stride, last);
        x[u] = load_chunk_once<kWidth>(a.x + at_row * a.channels + c);
        for (int l = 0; l < kLanes; ++l) {
          const int64_t from = (at_row + l * x_rows) * a.channels + c;
          dy[u][l] = load_chunk_once<kWidth>(a.dy + from);
          if constexpr (kMaskByY) y[u][l] = load_chunk_once<kWidth>(a.y + from);
        }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (row + u * stride > last) break;
        const int64_t at_row = block * a.rows + row + u * stride;
        float dx[kWidth], dresidual[kWidth] = {};
        for (int i = 0; i < kWidth; ++i) dx[i] = fmaf(at(x[u], i), slope[i], constant[i]);
#pragma unroll
        for (int l = 0; l < kLanes; ++l) {
          for (int i = 0; i < kWidth; ++i) {
            float pre_activation;
            if constexpr (kMaskByY)
              pre_activation = at(y[u][l], i);
            else
              pre_activation = fmaf(at(x[u], i), multiplier[l][i], addend[l][i]);
            const float g = pre_activation <= a.floor ? 0.0f : at(dy[u][l], i);  // NaN passes
            dx[i] = fmaf(g, multiplier[l][i], dx[i]);
            dresidual[i] += a.dresidual_is_dy ? at(dy[u][l], i) : g;
          }
          if (a.dresidual == nullptr) continue;
          int64_t to = at_row + l * x_rows;
          if (to >= a.residual_rows)
            to -= a.residual_rows;
          else if (kFork && a.residual_rows == x_rows)
            continue;  // half of dy's rows: written once, after the second lane
          put(a.dresidual + to * a.channels + c, dresidual, a.accumulate_dresidual);
          for (int i = 0; i < kWidth; ++i) dresidual[i] = 0;
        }
        if (a.dx != nullptr) put(a.dx + at_row * a.channels + c, dx, a.accumulate_dx);
      }
    }
  }
}

template <class T, int kWidth, bool kFork, bool kMaskByY>
void backward(CudaStream& stream, const NormBackward& s, const NormTerms& terms) {
  const NormGeometry& g = s.geometry;
  const int64_t columns = norm_columns(g.channels, kWidth);
  const NormWalk walk = norm_walk(g, gpu::ceil_div(g.channels, columns * kWidth), columns, kThreads,
                                  int64_t{kBlocksOfProcessor} * stream.multiprocessors());
  BackwardArguments<T> a{.x = s.x.as<T>(),
                         .dy = s.dy.as<T>(),
                         .y = kMaskByY ? s.y.as<T>() : nullptr,
                         .dx = s.dx ? s.dx.as<T>() : nullptr,
                         .dresidual = s.dresidual ? s.dresidual.as<T>() : nullptr,
                         .lane = {device_lane(s.lane[0]), device_lane(s.lane[1])},
                         .terms = terms,
                         .blocks = g.blocks,
                         .second_lane = s.lanes == 2 ? g.blocks / 2 : g.blocks,
                         .residual_rows = s.dresidual.size / g.channels,
                         .first_row = 0,
                         .last_row = g.blocks * g.rows,
                         .rows = static_cast<int>(g.rows),
                         .channels = static_cast<int>(g.channels),
                         .groups = groups_of(g),
                         .floor = norm_floor(s.activation),
                         .accumulate_dx = s.accumulate_dx,
                         .accumulate_dresidual = s.accumulate_dresidual,
                         .dresidual_is_dy = s.activation == NormActivation::kReluThenAdd};
  const auto launch = [&] {
    gpu::launch(stream, norm_backward_kernel<T, kWidth, kFork, kMaskByY>, walk.grid, walk.block, 0,
                a);
  };
  if (kFork || !s.dresidual || s.dresidual.size == s.dy.size) return launch();
  // Rows in different halves of dy share a row of the residual: one half after the other.
  a.last_row = a.residual_rows;
  launch();
  a.first_row = a.residual_rows;
  a.last_row = 2 * a.residual_rows;
  a.accumulate_dresidual = true;
  launch();
}

}  // namespace

void norm_backward(CudaStream& stream, const NormBackward& a) {
  check(a);
  bool affine = false;
  for (size_t l = 0; l < static_cast<size_t>(a.lanes); ++l)
    affine |= !a.dscale[l].empty() || !a.dshift[l].empty();
  const bool moving = a.dx && !a.fixed_statistics;
  const int64_t statistics = moving ? a.geometry.statistics() : 0;
  const Scratch<float> scratch(stream, 2 * statistics);
  NormTerms terms;
  if (moving) terms = {scratch.data(), scratch.data() + statistics};
  if (affine || moving) norm_backward_reduce(stream, a, terms);
  if (!a.dx && !a.dresidual) return;
  visit_norm_backward(a, [&](auto zero, auto width, auto fork, auto mask_by_y) {
    backward<decltype(zero), width, fork, mask_by_y>(stream, a, terms);
  });
}

}  // namespace passnorm::kernels
