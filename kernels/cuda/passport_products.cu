// The products of the passport and of its gate. All are of one matrix with two vectors, scale and
// shift, so that the matrix is read once; all sites share one launch, whose table of jobs is an
// argument of the kernel.
#include <vector>

#include "kernels/cuda/chunk.cuh"
#include "kernels/passport_common.hpp"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

using gpu::Chunk;
using gpu::load_chunk;
using gpu::Shared;
using gpu::store_chunk;

constexpr int kLanes = 32;
constexpr int kWarps = 9;  // the 16-byte packs of a 3x3 window over 64 k channels fill k / 2 rounds
constexpr int kThreads = kWarps * kLanes;
constexpr int kRows = 4;      // of a matrix per block: the vectors are read once for all of them
constexpr int kColumns = 32;  // of a transposed product per block: whole cache lines

__device__ __forceinline__ float leaky_relu(float x) { return x > 0 ? x : kGateSlope * x; }
template <int V>
__device__ __forceinline__ Chunk<float, V> load_input(const float* p, bool leaky) {
  Chunk<float, V> x = load_chunk<V>(p);
  if (leaky)
    for (float& v : x.v) v = leaky_relu(v);
  return x;
}

/// y_i = w m_i + bias, or w leaky_relu(m_i) + bias
struct Product {
  const float* w = nullptr;     // [rows, columns]
  const float* bias = nullptr;  // [rows] or null
  const float* m = nullptr;     // [2, columns]
  float* y = nullptr;           // [2, rows]
  int rows = 0, columns = 0;
  bool leaky = false;
  bool packs = false;  // 16-byte accesses
  int first_block = 0;

  bool aligned() const { return gpu::aligned(w) && gpu::aligned(m); }
  int64_t blocks() const { return gpu::ceil_div(rows, kRows); }
};

/// dw += g_0 m_0^T + g_1 m_1^T, dbias += g_0 + g_1
/// or, where w is not null, its transposed product y_i = w^T g_i times the slope at `hidden`.
struct Gradient {
  const float* g = nullptr;       // [2, rows]
  const float* m = nullptr;       // [2, columns]
  float* dw = nullptr;            // [rows, columns] or null
  float* dbias = nullptr;         // [rows] or null
  const float* w = nullptr;       // [rows, columns] or null
  const float* hidden = nullptr;  // [2, columns] or null: slope 1
  float* y = nullptr;             // [2, columns]
  int rows = 0, columns = 0;
  bool leaky = false;       // leaky_relu(m) in place of m
  bool accumulate = false;  // add to y
  bool packs = false;
  int first_block = 0;

  bool aligned() const { return gpu::aligned(m) && gpu::aligned(dw) && gpu::aligned(w); }
  int64_t blocks() const {
    return w != nullptr ? gpu::ceil_div(columns, kColumns) : gpu::ceil_div(rows, kRows);
  }
};

/// As many as the arguments of a kernel have room for.
template <class Job>
struct Jobs {
  static constexpr int kMax = (4096 - 8) / static_cast<int>(sizeof(Job));
  int count = 0;
  Job job[kMax];
};

/// The job of this block: the last one whose first block is not behind it.
template <class Job>
__device__ __forceinline__ int job_of_block(const Jobs<Job>& jobs) {
  int low = 0, high = jobs.count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (jobs.job[middle].first_block <= static_cast<int>(blockIdx.x) ? low : high) = middle;
  }
  return low;
}

using Sums = Shared<float, 2 * kRows * kThreads>;

/// Rows [row, row + kRows) of a product.
template <int V>
__device__ __forceinline__ void multiply(const Product& p, int row, Sums& sums) {
  const float* w[kRows];
  for (int r = 0; r < kRows; ++r)  // a row behind the last is the last one again
    w[r] = p.w + int64_t{min(row + r, p.rows - 1)} * p.columns;
  float sum[kRows][2] = {};
  for (int i = static_cast<int>(threadIdx.x) * V; i < p.columns; i += kThreads * V) {
    const Chunk<float, V> m0 = load_input<V>(p.m + i, p.leaky),
                          m1 = load_input<V>(p.m + p.columns + i, p.leaky);
    for (int r = 0; r < kRows; ++r) {
      const Chunk<float, V> v = load_chunk<V>(w[r] + i);
      for (int k = 0; k < V; ++k) {
        sum[r][0] += v.v[k] * m0.v[k];
        sum[r][1] += v.v[k] * m1.v[k];
      }
    }
  }
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kLanes, lane = thread % kLanes;
  for (int r = 0; r < kRows; ++r)
    for (int i = 0; i < 2; ++i) sums[(2 * r + i) * kThreads + thread] = sum[r][i];
  __syncthreads();
  // A warp per result.
  if (warp >= 2 * kRows) return;
  float total = 0;
  for (int k = 0; k < kWarps; ++k) total += sums[warp * kThreads + k * kLanes + lane];
  for (int step = kLanes / 2; step > 0; step /= 2) total += __shfl_xor_sync(~0u, total, step);
  const int r = row + warp / 2;
  if (lane == 0 && r < p.rows)
    p.y[warp % 2 * p.rows + r] = total + (p.bias != nullptr ? p.bias[r] : 0.0f);
}

__global__ void __launch_bounds__(kThreads) multiply_kernel(const Jobs<Product> jobs) {
  __shared__ Sums sums;
  const Product p = jobs.job[job_of_block(jobs)];
  const int row = (static_cast<int>(blockIdx.x) - p.first_block) * kRows;
  if (p.packs)
    multiply<4>(p, row, sums);
  else
    multiply<1>(p, row, sums);
}

/// Rows [row, row + kRows) of dw.
template <int V>
__device__ __forceinline__ void add_rank_two(const Gradient& p, int row) {
  const int thread = static_cast<int>(threadIdx.x), rows = min(kRows, p.rows - row);
  const float *g0 = p.g + row, *g1 = g0 + p.rows;
  if (p.dbias != nullptr && thread < rows) p.dbias[row + thread] += g0[thread] + g1[thread];
  if (p.dw == nullptr) return;
  float g[kRows][2] = {};
  for (int r = 0; r < kRows; ++r)
    if (r < rows) g[r][0] = g0[r], g[r][1] = g1[r];
  float* dw = p.dw + int64_t{row} * p.columns;
  for (int i = thread * V; i < p.columns; i += kThreads * V) {
    const Chunk<float, V> m0 = load_input<V>(p.m + i, p.leaky),
                          m1 = load_input<V>(p.m + p.columns + i, p.leaky);
    Chunk<float, V> d[kRows];
    for (int r = 0; r < kRows; ++r)
      if (r < rows) d[r] = load_chunk<V>(dw + int64_t{r} * p.columns + i);
    for (int r = 0; r < kRows; ++r) {
      if (r >= rows) break;
      for (int k = 0; k < V; ++k) d[r].v[k] = g[r][0] * m0.v[k] + (g[r][1] * m1.v[k] + d[r].v[k]);
      store_chunk(dw + int64_t{r} * p.columns + i, d[r]);
    }
  }
}

/// kColumns columns of the transposed product: groups of threads side by side sum rows that are
/// kGroups apart.
template <int V>
__device__ __forceinline__ void multiply_transposed(const Gradient& p, int block, Sums& sums) {
  constexpr int kAcross = kColumns / V, kGroups = kThreads / kAcross;
  const int thread = static_cast<int>(threadIdx.x), group = thread / kAcross,
            place = thread % kAcross * V, column = block * kColumns + place;
  float sum[2][V] = {};
  if (column < p.columns)
    for (int r = group; r < p.rows; r += kGroups) {
      const float g0 = p.g[r], g1 = p.g[p.rows + r];
      const Chunk<float, V> v = load_chunk<V>(p.w + int64_t{r} * p.columns + column);
      for (int k = 0; k < V; ++k) {
        sum[0][k] += v.v[k] * g0;
        sum[1][k] += v.v[k] * g1;
      }
    }
  for (int i = 0; i < 2; ++i)
    for (int k = 0; k < V; ++k) sums[(2 * group + i) * kColumns + place + k] = sum[i][k];
  __syncthreads();
  const int i = thread / kColumns, c = block * kColumns + thread % kColumns;
  if (i >= 2 || c >= p.columns) return;
  float total = 0;
  for (int k = 0; k < kGroups; ++k) total += sums[2 * k * kColumns + thread];
  const int64_t at = int64_t{i} * p.columns + c;
  if (p.hidden != nullptr && !(p.hidden[at] > 0)) total *= kGateSlope;
  p.y[at] = p.accumulate ? p.y[at] + total : total;
}

__global__ void __launch_bounds__(kThreads) gradient_kernel(const Jobs<Gradient> jobs) {
  __shared__ Sums sums;
  const Gradient p = jobs.job[job_of_block(jobs)];
  const int block = static_cast<int>(blockIdx.x) - p.first_block;
  if (p.w != nullptr) {
    if (p.packs)
      multiply_transposed<4>(p, block, sums);
    else
      multiply_transposed<1>(p, block, sums);
  } else {
    if (p.packs)
      add_rank_two<4>(p, block * kRows);
    else
      add_rank_two<1>(p, block * kRows);
  }
}

/// All jobs in one launch (in several where there are more than a table holds).
template <class Job>
void run(CudaStream& stream, void (*kernel)(Jobs<Job>), const std::vector<Job>& all) {
  for (size_t i = 0; i < all.size();) {
    Jobs<Job> jobs;
    int64_t blocks = 0;
    while (i < all.size() && jobs.count < Jobs<Job>::kMax) {
      Job& job = jobs.job[jobs.count++] = all[i++];
      job.packs = job.columns % 4 == 0 && job.aligned();
      job.first_block = static_cast<int>(blocks);
      blocks += job.blocks();
    }
    gpu::launch(stream, kernel, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, jobs);
  }
}

int count(int64_t size) {
  PASSNORM_CHECK(size > 0 && size < 1 << 30, "a matrix with a side of ", size);
  return static_cast<int>(size);
}

}  // namespace

void passport_read(CudaStream& stream, const PassportRead& a) {
  check(a);
  std::vector<Product> products;
  for (const PassportSite& s : a.sites)
    products.push_back({.w = s.w,
                        .bias = s.bias,
                        .m = s.m,
                        .y = a.raw.data() + s.offset,
                        .rows = count(s.channels),
                        .columns = count(s.window)});
  run(stream, multiply_kernel, products);
}

void passport_read_backward(CudaStream& stream, const PassportReadBackward& a) {
  check(a);
  std::vector<Gradient> gradients;
  for (size_t i = 0; i < a.sites.size(); ++i) {
    const PassportSite& s = a.sites[i];
    const float* draw = a.draw.data() + s.offset;
    const int rows = count(s.channels), columns = count(s.window);
    float *const dw = pointer_at(a.dw, i), *const dbias = pointer_at(a.dbias, i);
    if (dw != nullptr || dbias != nullptr)
      gradients.push_back(
          {.g = draw, .m = s.m, .dw = dw, .dbias = dbias, .rows = rows, .columns = columns});
    if (float* const dm = pointer_at(a.dm, i); dm != nullptr)
      gradients.push_back({.g = draw, .w = s.w, .y = dm, .rows = rows, .columns = columns});
  }
  run(stream, gradient_kernel, gradients);
}

void gate(CudaStream& stream, const Gate& a) {
  check(a);
  std::vector<Product> down, up;
  for (const GateSite& s : a.sites) {
    const int channels = count(s.channels), hidden = count(s.hidden);
    float* units = a.hidden.data() + s.hidden_offset;
    down.push_back(
        {.w = s.a1, .m = a.raw.data() + s.offset, .y = units, .rows = hidden, .columns = channels});
    up.push_back({.w = s.a2,
                  .m = units,
                  .y = a.used.data() + s.offset,
                  .rows = channels,
                  .columns = hidden,
                  .leaky = true});
  }
  run(stream, multiply_kernel, down);
  run(stream, multiply_kernel, up);
}

void gate_backward(CudaStream& stream, const GateBackward& a) {
  check(a);
  const Scratch<float> dhidden(stream, static_cast<int64_t>(a.hidden.size()));
  std::vector<Gradient> of_up, of_down;
  for (size_t i = 0; i < a.sites.size(); ++i) {
    const GateSite& s = a.sites[i];
    const int channels = count(s.channels), hidden = count(s.hidden);
    const float* units = a.hidden.data() + s.hidden_offset;
    const float* dused = a.dused.data() + s.offset;
    float* dunits = dhidden.data() + s.hidden_offset;
    of_up.push_back(
        {.g = dused, .w = s.a2, .hidden = units, .y = dunits, .rows = channels, .columns = hidden});
    if (float* const da2 = pointer_at(a.da2, i); da2 != nullptr)
      of_up.push_back(
          {.g = dused, .m = units, .dw = da2, .rows = channels, .columns = hidden, .leaky = true});
    if (!a.draw.empty())
      of_down.push_back({.g = dunits,
                         .w = s.a1,
                         .y = a.draw.data() + s.offset,
                         .rows = hidden,
                         .columns = channels,
                         .accumulate = true});
    if (float* const da1 = pointer_at(a.da1, i); da1 != nullptr)
      of_down.push_back({.g = dunits,
                         .m = a.raw.data() + s.offset,
                         .dw = da1,
                         .rows = hidden,
                         .columns = channels});
  }
  run(stream, gradient_kernel, of_up);
  run(stream, gradient_kernel, of_down);
}

}  // namespace passnorm::kernels
