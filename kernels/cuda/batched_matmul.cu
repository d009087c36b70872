#include "kernels/batched_matmul_common.hpp"
#include "kernels/cuda/block.cuh"
#include "kernels/cuda/chunk.cuh"

namespace passnorm::kernels {
namespace {

using Quad = gpu::Chunk<float, 4>;

constexpr int kThreads = 256;

/// kRows rows of kColumns columns of a matrix in shared memory, as f32: element (row, column) is
/// number column % 4 of quad (row kColumns + column) / 4.
template <int kRows, int kColumns>
using Tile = gpu::Shared<Quad, kRows * kColumns / 4>;

/// The tile from the matrix whose element at the tile's corner is *from; 0 outside the `rows` and
/// `columns` that there are. W: elements per access, of which columns and stride are multiples.
template <int W, int kRows, int kColumns, class T>
__device__ __forceinline__ void load_tile(Tile<kRows, kColumns>& to, const T* from, int stride,
                                          int rows, int columns) {
#pragma unroll 4
  for (int e = static_cast<int>(threadIdx.x) * W; e < kRows * kColumns; e += kThreads * W) {
    const int row = e / kColumns, column = e % kColumns;
    gpu::Chunk<T, W> v{};
    if (row < rows && column < columns)
      v = gpu::load_chunk<W>(from + int64_t{row} * stride + column);
#pragma unroll
    for (int k = 0; k < W; ++k) to[(e + k) / 4].v[(e + k) % 4] = gpu::to_float(v.v[k]);
  }
}

/// The matrix [rows, columns], or its transpose, as a tile, in patches of four rows and up to eight
/// columns: neither memory nor banks are met in large strides when it is transposed.
template <int kSide>
__device__ __forceinline__ void load_matrix(Tile<kSide, kSide>& to, const float* from, int rows,
                                            int columns, bool transposed) {
  constexpr int kWidth = kSide < 8 ? kSide : 8, kAcross = kSide / kWidth;
  for (int e = static_cast<int>(threadIdx.x); e < kSide * kSide; e += kThreads) {
    const int patch = e / (4 * kWidth);
    const int row = patch / kAcross * 4 + e / kWidth % 4;
    const int column = patch % kAcross * kWidth + e % kWidth;
    const float v = row < rows && column < columns ? from[row * columns + column] : 0.0f;
    const int at = transposed ? column * kSide + row : row * kSide + column;
    to[at / 4].v[at % 4] = v;
  }
}

struct RowProducts {
  int l, inner, columns;
  int64_t outputs;
  int parts;
  int64_t xs, ms;
  const float* m;  // [ms, inner, columns], or [ms, columns, inner] when transposed
  bool transposed;
  bool accumulate;
};

/// y[n] = the sum over parts p of x[n'] m[n'], n' = n + p outputs modulo their numbers; x [xs, L,
/// inner], y [outputs, L, columns]. x: n; y: rows of y. A thread has four rows and four
/// neighbouring columns. kSide: at least inner and columns. kWide: both are multiples of 16 bytes.
template <class T, bool kWide, int kSide>
__global__ void __launch_bounds__(kThreads)
    row_products_kernel(const RowProducts a, const T* x, T* y) {
  constexpr int kAcross = kSide / 4, kDown = kThreads / kAcross, kRows = 4 * kDown;
  constexpr int W = kWide ? gpu::Pack<T>::kSize : 1;
  __shared__ Tile<kRows, kSide> tile;
  __shared__ Tile<kSide, kSide> matrix;
  const int quad = static_cast<int>(threadIdx.x) % kAcross;
  const int thread_row = static_cast<int>(threadIdx.x) / kAcross;
  const int first = static_cast<int>(blockIdx.y) * kRows, rows = min(kRows, a.l - first);
  float sum[4][4] = {};
  for (int part = 0; part < a.parts; ++part) {
    const int64_t from = blockIdx.x + part * a.outputs;
    if (part > 0) __syncthreads();
    load_tile<W, kRows, kSide>(tile, x + (from % a.xs * a.l + first) * a.inner, a.inner, rows,
                               a.inner);
    load_matrix<kSide>(matrix, a.m + from % a.ms * a.inner * a.columns,
                       a.transposed ? a.columns : a.inner, a.transposed ? a.inner : a.columns,
                       a.transposed);
    __syncthreads();
    for (int k = 0; k < a.inner; k += 4) {  // what pads it is 0 in both
      Quad left[4], right[4];
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        left[r] = tile[((thread_row + r * kDown) * kSide + k) / 4];
        right[r] = matrix[(k + r) * kAcross + quad];
      }
#pragma unroll
      for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int c = 0; c < 4; ++c) sum[r][c] += left[r].v[i] * right[i].v[c];
    }
  }
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int row = thread_row + r * kDown, column = quad * 4;
    if (row >= rows || column >= a.columns) continue;
    T* to = y + (int64_t{blockIdx.x} * a.l + first + row) * a.columns + column;
    if constexpr (kWide) {
      gpu::Chunk<T, 4> out;
      if (a.accumulate) out = gpu::load_chunk<4>(to);
#pragma unroll
      for (int c = 0; c < 4; ++c)
        out.v[c] =
            gpu::from_float<T>(a.accumulate ? gpu::to_float(out.v[c]) + sum[r][c] : sum[r][c]);
      gpu::store_chunk(to, out);
    } else {
#pragma unroll
      for (int c = 0; c < 4; ++c)
        if (column + c < a.columns)
          to[c] = gpu::from_float<T>(a.accumulate ? gpu::to_float(to[c]) + sum[r][c] : sum[r][c]);
    }
  }
}

template <class T, bool kWide, int kSide>
void launch_row_products(CudaStream& stream, const RowProducts& a, const T* x, T* y) {
  constexpr int kRows = 4 * kThreads / (kSide / 4);
  const int64_t blocks = gpu::ceil_div(a.l, kRows);
  PASSNORM_CHECK(a.outputs <= INT32_MAX && blocks <= 65535, a.outputs, " products of ", a.l,
                 " rows are too many for one launch");
  gpu::launch(stream, row_products_kernel<T, kWide, kSide>,
              dim3(static_cast<unsigned>(a.outputs), static_cast<unsigned>(blocks)), dim3(kThreads),
              0, a, x, y);
}

template <class T>
void multiply_rows(CudaStream& stream, const RowProducts& a, const T* x, T* y) {
  constexpr int kWide = gpu::Pack<T>::kSize;
  if (a.inner <= 4 && a.columns <= 4)
    launch_row_products<T, false, 4>(stream, a, x, y);
  else if (a.columns % 4 == 0 && gpu::divides<kWide>(a.inner, {x, y}))
    launch_row_products<T, true, 64>(stream, a, x, y);
  else
    launch_row_products<T, false, 64>(stream, a, x, y);
}

struct GramProducts {
  int l, i, j;
  int64_t outputs;
  int parts;
  int64_t xs;
  float* dt;  // [outputs, I, J]
  bool accumulate;
};

/// dt[n] = the sum over parts p of x[n']' dy[n'], n' = n + p outputs modulo their numbers. x: n;
/// y, z: kSide rows and columns of dt. Of these a thread has four and four; kDown rows of threads
/// share the rows of x.
template <class T, bool kWide, int kSide>
__global__ void __launch_bounds__(kThreads)
    gram_products_kernel(const GramProducts a, const T* x, const T* dy) {
  constexpr int kQuads = kSide / 4, kAcross = kQuads * kQuads, kDown = kThreads / kAcross;
  constexpr int kRows = 2048 / kSide;  // of x at a time
  constexpr int W = kWide ? gpu::Pack<T>::kSize : 1;
  __shared__ Tile<kRows, kSide> left, right;
  __shared__ gpu::Shared<float, gpu::exchange_size(16, kAcross, kThreads)> exchange;
  const int thread_row = static_cast<int>(threadIdx.x) / kAcross;
  const int i = static_cast<int>(threadIdx.x) % kAcross / kQuads;
  const int j = static_cast<int>(threadIdx.x) % kQuads;
  const int first_i = static_cast<int>(blockIdx.y) * kSide;
  const int first_j = static_cast<int>(blockIdx.z) * kSide;
  float sum[16] = {};
  for (int part = 0; part < a.parts; ++part) {
    const int64_t from = blockIdx.x + part * a.outputs;
    const T* x_rows = x + from % a.xs * a.l * a.i + first_i;
    const T* dy_rows = dy + from * a.l * a.j + first_j;
    for (int first = 0; first < a.l; first += kRows) {
      __syncthreads();
      load_tile<W, kRows, kSide>(left, x_rows + int64_t{first} * a.i, a.i, a.l - first,
                                 a.i - first_i);
      load_tile<W, kRows, kSide>(right, dy_rows + int64_t{first} * a.j, a.j, a.l - first,
                                 a.j - first_j);
      __syncthreads();
#pragma unroll 4
      for (int row = thread_row; row < kRows; row += kDown) {  // beyond L both are 0
        const Quad p = left[row * kQuads + i], q = right[row * kQuads + j];
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
          for (int c = 0; c < 4; ++c) sum[4 * r + c] += p.v[r] * q.v[c];
      }
    }
  }
  gpu::merge_rows(sum, kAcross, kDown, &exchange[0], gpu::AddFloats());
  if (thread_row != 0) return;
#pragma unroll
  for (int r = 0; r < 4; ++r)
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const int row = first_i + 4 * i + r, column = first_j + 4 * j + c;
      if (row >= a.i || column >= a.j) continue;
      float* to = a.dt + (int64_t{blockIdx.x} * a.i + row) * a.j + column;
      *to = a.accumulate ? *to + sum[4 * r + c] : sum[4 * r + c];
    }
}

template <class T, bool kWide, int kSide>
void launch_gram_products(CudaStream& stream, const GramProducts& a, const T* x, const T* dy) {
  const auto tiles = [](int size) { return static_cast<unsigned>(gpu::ceil_div(size, kSide)); };
  PASSNORM_CHECK(a.outputs <= INT32_MAX, a.outputs, " products are too many for one launch");
  gpu::launch(stream, gram_products_kernel<T, kWide, kSide>,
              dim3(static_cast<unsigned>(a.outputs), tiles(a.i), tiles(a.j)), dim3(kThreads), 0, a,
              x, dy);
}

template <class T>
void multiply_gram(CudaStream& stream, const GramProducts& a, const T* x, const T* dy) {
  constexpr int kWide = gpu::Pack<T>::kSize;
  if (a.i <= 4 && a.j <= 4)
    launch_gram_products<T, false, 4>(stream, a, x, dy);
  else if (a.j % kWide == 0 && gpu::divides<kWide>(a.i, {x, dy}))
    launch_gram_products<T, true, 32>(stream, a, x, dy);
  else
    launch_gram_products<T, false, 32>(stream, a, x, dy);
}

int rows_of(const BatchedMatmulGeometry& g) {
  PASSNORM_CHECK(g.l <= INT32_MAX / 2, g.l, " rows are too many for one launch");
  return static_cast<int>(g.l);
}

}  // namespace

void batched_matmul(CudaStream& stream, const BatchedMatmul& a) {
  check(a);
  const BatchedMatmulGeometry& g = a.geometry;
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    multiply_rows<T>(stream,
                     {.l = rows_of(g),
                      .inner = static_cast<int>(g.i),
                      .columns = static_cast<int>(g.j),
                      .outputs = g.batches,
                      .parts = 1,
                      .xs = a.x.size / (g.l * g.i),
                      .ms = static_cast<int64_t>(a.t.size()) / (g.i * g.j),
                      .m = a.t.data(),
                      .transposed = false,
                      .accumulate = false},
                     a.x.as<T>(), a.y.as<T>());
  });
}

void batched_matmul_backward(CudaStream& stream, const BatchedMatmulBackward& a) {
  check(a);
  const BatchedMatmulGeometry& g = a.geometry;
  const int l = rows_of(g), i = static_cast<int>(g.i), j = static_cast<int>(g.j);
  const int64_t xs = a.x.size / (g.l * g.i), ts = static_cast<int64_t>(a.t.size()) / (g.i * g.j);
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (a.dx)
      multiply_rows<T>(stream,
                       {.l = l,
                        .inner = j,
                        .columns = i,
                        .outputs = xs,
                        .parts = static_cast<int>(g.batches / xs),
                        .xs = g.batches,
                        .ms = ts,
                        .m = a.t.data(),
                        .transposed = true,
                        .accumulate = a.accumulate_dx},
                       a.dy.as<T>(), a.dx.as<T>());
    if (!a.dt.empty())
      multiply_gram<T>(stream,
                       {.l = l,
                        .i = i,
                        .j = j,
                        .outputs = ts,
                        .parts = static_cast<int>(g.batches / ts),
                        .xs = xs,
                        .dt = a.dt.data(),
                        .accumulate = a.accumulate_dt},
                       a.x.as<T>(), a.dy.as<T>());
  });
}

}  // namespace passnorm::kernels
