#include "kernels/cpu/winograd.hpp"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/simd-inl.hpp"
#include "kernels/runtime/parallel.hpp"
#include "kernels/runtime/scratch.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t kTile = 4;                   // outputs of a tile along one side
constexpr int64_t kPoints = 6, kPlanes = 36;   // of the transformed tile
constexpr float kA = 0.625f, kB = 1.5f;        // the points 0, +-a, +-b, infinity
constexpr float kA2 = kA * kA, kB2 = kB * kB;  // exact
constexpr float kN0 = 1 / (kA2 * kB2);         // G's rows are scaled by 1 / prod (p - other points)
constexpr float kNa = 1 / (2 * kA2 * (kA2 - kB2)), kNb = 1 / (2 * kB2 * (kB2 - kA2));

// Registers of one matrix product: rows x vectors of sums, vectors of the right factor, one
// broadcast.
constexpr int kRows = 6;
constexpr int kVectors = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
inline int64_t lanes() { return static_cast<int64_t>(hn::Lanes(Wide())); }
inline int64_t panel() { return kVectors * lanes(); }  // columns of a packed right factor
/// A plane starts on another cache line than the one before: powers of two would fall into one set.
inline int64_t plane_stride(int64_t elements) { return (elements + 15) / 16 * 16 + 16; }

using V = hn::Vec<Wide>;

// --- the one-dimensional transforms: from `in` with stride si to `out` with stride so

struct InputTransform {  // B^T
  static constexpr int kIn = 6, kOut = 6;
  static HWY_INLINE void apply(const V* in, int si, V* out, int so) {
    const Wide d;
    const V d0 = in[0], d1 = in[si], d2 = in[2 * si], d3 = in[3 * si], d4 = in[4 * si],
            d5 = in[5 * si];
    const V sum = hn::Set(d, kA2 + kB2), product = hn::Set(d, kA2 * kB2);
    const V even_a = hn::NegMulAdd(hn::Set(d, kB2), d2, d4);
    const V odd_a = hn::NegMulAdd(hn::Set(d, kB2), d1, d3);
    const V even_b = hn::NegMulAdd(hn::Set(d, kA2), d2, d4);
    const V odd_b = hn::NegMulAdd(hn::Set(d, kA2), d1, d3);
    out[0] = hn::MulAdd(product, d0, hn::NegMulAdd(sum, d2, d4));
    out[so] = hn::MulAdd(hn::Set(d, kA), odd_a, even_a);
    out[2 * so] = hn::NegMulAdd(hn::Set(d, kA), odd_a, even_a);
    out[3 * so] = hn::MulAdd(hn::Set(d, kB), odd_b, even_b);
    out[4 * so] = hn::NegMulAdd(hn::Set(d, kB), odd_b, even_b);
    out[5 * so] = hn::MulAdd(product, d1, hn::NegMulAdd(sum, d3, d5));
  }
};

struct OutputTransform {  // A^T
  static constexpr int kIn = 6, kOut = 4;
  static HWY_INLINE void apply(const V* in, int si, V* out, int so) {
    const Wide d;
    const V plus_a = hn::Add(in[si], in[2 * si]), minus_a = hn::Sub(in[si], in[2 * si]);
    const V plus_b = hn::Add(in[3 * si], in[4 * si]), minus_b = hn::Sub(in[3 * si], in[4 * si]);
    out[0] = hn::Add(in[0], hn::Add(plus_a, plus_b));
    out[so] = hn::MulAdd(hn::Set(d, kA), minus_a, hn::Mul(hn::Set(d, kB), minus_b));
    out[2 * so] = hn::MulAdd(hn::Set(d, kA2), plus_a, hn::Mul(hn::Set(d, kB2), plus_b));
    out[3 * so] = hn::MulAdd(hn::Set(d, kA2 * kA), minus_a,
                             hn::MulAdd(hn::Set(d, kB2 * kB), minus_b, in[5 * si]));
  }
};

struct OutputAdjoint {  // A
  static constexpr int kIn = 4, kOut = 6;
  static HWY_INLINE void apply(const V* in, int si, V* out, int so) {
    const Wide d;
    const V y0 = in[0], y1 = in[si], y2 = in[2 * si], y3 = in[3 * si];
    const V even_a = hn::MulAdd(hn::Set(d, kA2), y2, y0);
    const V odd_a = hn::MulAdd(hn::Set(d, kA2), y3, y1);
    const V even_b = hn::MulAdd(hn::Set(d, kB2), y2, y0);
    const V odd_b = hn::MulAdd(hn::Set(d, kB2), y3, y1);
    out[0] = y0;
    out[so] = hn::MulAdd(hn::Set(d, kA), odd_a, even_a);
    out[2 * so] = hn::NegMulAdd(hn::Set(d, kA), odd_a, even_a);
    out[3 * so] = hn::MulAdd(hn::Set(d, kB), odd_b, even_b);
    out[4 * so] = hn::NegMulAdd(hn::Set(d, kB), odd_b, even_b);
    out[5 * so] = y3;
  }
};

struct FilterTransform {  // G
  static constexpr int kIn = 3, kOut = 6;
  static HWY_INLINE void apply(const V* in, int si, V* out, int so) {
    const Wide d;
    const V g0 = in[0], g1 = in[si], g2 = in[2 * si];
    const V even_a = hn::Mul(hn::Set(d, kNa), hn::MulAdd(hn::Set(d, kA2), g2, g0));
    const V even_b = hn::Mul(hn::Set(d, kNb), hn::MulAdd(hn::Set(d, kB2), g2, g0));
    out[0] = hn::Mul(hn::Set(d, kN0), g0);
    out[so] = hn::MulAdd(hn::Set(d, kNa * kA), g1, even_a);
    out[2 * so] = hn::NegMulAdd(hn::Set(d, kNa * kA), g1, even_a);
    out[3 * so] = hn::MulAdd(hn::Set(d, kNb * kB), g1, even_b);
    out[4 * so] = hn::NegMulAdd(hn::Set(d, kNb * kB), g1, even_b);
    out[5 * so] = g2;
  }
};

struct FilterAdjoint {  // G^T
  static constexpr int kIn = 6, kOut = 3;
  static HWY_INLINE void apply(const V* in, int si, V* out, int so) {
    const Wide d;
    const V plus_a = hn::Mul(hn::Set(d, kNa), hn::Add(in[si], in[2 * si]));
    const V minus_a = hn::Mul(hn::Set(d, kNa), hn::Sub(in[si], in[2 * si]));
    const V plus_b = hn::Mul(hn::Set(d, kNb), hn::Add(in[3 * si], in[4 * si]));
    const V minus_b = hn::Mul(hn::Set(d, kNb), hn::Sub(in[3 * si], in[4 * si]));
    out[0] = hn::MulAdd(hn::Set(d, kN0), in[0], hn::Add(plus_a, plus_b));
    out[so] = hn::MulAdd(hn::Set(d, kA), minus_a, hn::Mul(hn::Set(d, kB), minus_b));
    out[2 * so] =
        hn::MulAdd(hn::Set(d, kA2), plus_a, hn::MulAdd(hn::Set(d, kB2), plus_b, in[5 * si]));
  }
};

/// T x T^T: `x` [kIn, kIn] to `y` [kOut, kOut], both row-major.
template <class T>
HWY_INLINE void transform(const V* x, V* y) {
  V columns[T::kOut * T::kIn];
  for (int j = 0; j < T::kIn; ++j) T::apply(x + j, T::kIn, columns + j, T::kIn);
  for (int i = 0; i < T::kOut; ++i) T::apply(columns + i * T::kIn, 1, y + i * T::kOut, 1);
}

// --- matrix products

/// c [rows, kVecs vectors] (+)= a [rows, depth] b [depth, kVecs vectors]; element (m, k) of a is
/// a[m * am + k * ak], rows of b and c are bk and cm apart.
struct Product {
  int64_t depth;
  const float* a;
  int64_t am, ak;
  const float* b;
  int64_t bk;
  float* c;
  int64_t cm;
  bool accumulate;
};

template <int kMany, int kVecs>
HWY_INLINE void product_block(const Product& p) {
  const Wide d;
  const int64_t n = lanes();
  V sum[kMany][kVecs];
  HWY_UNROLL(8)
  for (int r = 0; r < kMany; ++r) HWY_UNROLL(8)
  for (int j = 0; j < kVecs; ++j)
    sum[r][j] = p.accumulate ? hn::LoadU(d, p.c + r * p.cm + j * n) : hn::Zero(d);
  const float *a = p.a, *b = p.b;
  for (int64_t k = 0; k < p.depth; ++k, a += p.ak, b += p.bk) {
    V right[kVecs];
    HWY_UNROLL(8)
    for (int j = 0; j < kVecs; ++j) right[j] = hn::LoadU(d, b + j * n);
    HWY_UNROLL(8)
    for (int r = 0; r < kMany; ++r) {
      const V left = hn::Set(d, a[r * p.am]);
      HWY_UNROLL(8)
      for (int j = 0; j < kVecs; ++j) sum[r][j] = hn::MulAdd(left, right[j], sum[r][j]);
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kMany; ++r) HWY_UNROLL(8)
  for (int j = 0; j < kVecs; ++j) hn::StoreU(sum[r][j], d, p.c + r * p.cm + j * n);
}

template <int kVecs>
HWY_INLINE void product_rows(Product p, int64_t rows) {
  for (; rows >= kRows; rows -= kRows, p.a += kRows * p.am, p.c += kRows * p.cm)
    product_block<kRows, kVecs>(p);
  switch (rows) {
    case 5:
      return product_block<5, kVecs>(p);
    case 4:
      return product_block<4, kVecs>(p);
    case 3:
      return product_block<3, kVecs>(p);
    case 2:
      return product_block<2, kVecs>(p);
    case 1:
      return product_block<1, kVecs>(p);
    default:
      return;
  }
}

/// columns: of b and c, whole vectors, at most a panel.
void product(const Product& p, int64_t rows, int64_t columns) {
  const int64_t vectors = columns / lanes();
  if constexpr (kVectors == 4) {
    if (vectors == 4) return product_rows<4>(p, rows);
    if (vectors == 3) return product_rows<3>(p, rows);
  }
  if (vectors == 2) return product_rows<2>(p, rows);
  product_rows<1>(p, rows);
}

// --- tiles

/// The tiles of an activation [n, h, w, c] that begin at multiples of 4, `before` pixels earlier.
struct Tiles {
  int64_t n, h, w, c;    // of the tensor that is read or written
  int64_t across, down;  // tiles of an image
  int64_t before;

  int64_t count() const { return n * down * across; }
  /// Calls f(i, j, offset of pixel (i, j) of the tile, or -1 outside the image).
  template <int kSide, class F>
  HWY_INLINE void pixels(int64_t tile, F&& f) const {
    const int64_t image = tile / (down * across), at = tile % (down * across);
    const int64_t top = at / across * kTile - before, left = at % across * kTile - before;
    for (int i = 0; i < kSide; ++i)
      for (int j = 0; j < kSide; ++j) {
        const int64_t row = top + i, column = left + j;
        const bool inside = row >= 0 && row < h && column >= 0 && column < w;
        f(i, j, inside ? ((image * h + row) * w + column) * c : -1);
      }
  }
};

/// One tile of x, transformed, to the 36 planes: plane p, channel k at out[p * stride + place(k)].
template <class Transform, class T, class Place>
HWY_INLINE void gather_tile(const Tiles& tiles, int64_t tile, const T* x, float* out,
                            int64_t stride, Place&& place) {
  constexpr int kSide = Transform::kIn;
  alignas(64) static constexpr uint8_t kZeros[64] = {};
  const auto* zeros = reinterpret_cast<const T*>(kZeros);
  const T* from[kSide * kSide];
  bool inside[kSide * kSide];
  tiles.pixels<kSide>(tile, [&](int i, int j, int64_t offset) {
    inside[i * kSide + j] = offset >= 0;
    from[i * kSide + j] = offset >= 0 ? x + offset : zeros;
  });
  const Wide d;
  for (int64_t c = 0; c < tiles.c; c += lanes()) {
    V in[kSide * kSide], planes[kPlanes];
    for (int i = 0; i < kSide * kSide; ++i) in[i] = load(d, from[i] + (inside[i] ? c : 0));
    transform<Transform>(in, planes);
    float* to = out + place(c);
    for (int p = 0; p < kPlanes; ++p) hn::StoreU(planes[p], d, to + p * stride);
  }
}

/// sums [36 planes of `stride`] of one tile, `columns` channels from `first` on, to y.
template <class T>
HWY_INLINE void scatter_tile(const Tiles& tiles, int64_t tile, const float* sums, int64_t stride,
                             int64_t first, int64_t columns, const float* bias, bool relu, T* y) {
  int64_t to[kTile * kTile];
  tiles.pixels<kTile>(tile, [&](int i, int j, int64_t offset) { to[i * kTile + j] = offset; });
  const Wide d;
  const V floor = hn::Set(d, relu ? 0.0f : -std::numeric_limits<float>::infinity());
  for (int64_t c = 0; c < columns; c += lanes()) {
    V in[kPlanes], out[kTile * kTile];
    for (int p = 0; p < kPlanes; ++p) in[p] = hn::LoadU(d, sums + p * stride + c);
    transform<OutputTransform>(in, out);
    const V b = bias ? hn::LoadU(d, bias + first + c) : hn::Zero(d);
    for (int i = 0; i < kTile * kTile; ++i) {
      if (to[i] < 0) continue;
      const V u = hn::Add(out[i], b);
      store(d, hn::IfThenElse(hn::Lt(u, floor), floor, u), y + to[i] + first + c);  // NaN stays
    }
  }
}

// --- filters, transformed and packed: [36][panels of columns][depth][panel]

/// Filters of a convolution from `depth` channels to `columns`. Forward reads w [columns, 3, 3,
/// depth] as it stands; backward data reads w [depth, 3, 3, columns] turned, from dy's channels to
/// x's.
struct Filters {
  const float* w;
  int64_t depth, columns;
  bool turned;
};

/// Columns [begin, begin + count), whole panels or up to the end, to u.
void transform_filters(CpuStream& stream, const Filters& f, int64_t begin, int64_t count,
                       float* u) {
  const int64_t depth = f.depth, plane = plane_stride(depth * count), n = lanes();
  parallel_for(stream, depth * (count / n), 64, [&](int64_t task, int64_t last) HWY_ATTR {
    const Wide d;
    const hn::RebindToSigned<Wide> di;
    // Forward: a vector of outputs, whose filters are 9 depth apart.
    const auto index = hn::Mul(hn::Iota(di, 0), hn::Set(di, static_cast<int32_t>(9 * depth)));
    for (; task < last; ++task) {
      const int64_t at = task / depth * n, column = begin + at, k = task % depth;
      V in[9], out[kPlanes];
      for (int tap = 0; tap < 9; ++tap)
        in[tap] = f.turned ? hn::LoadU(d, f.w + (k * 9 + 8 - tap) * f.columns + column)
                           : hn::GatherIndex(d, f.w + (column * 9 + tap) * depth + k, index);
      transform<FilterTransform>(in, out);
      const int64_t first = at / panel() * panel(), width = std::min(panel(), count - first);
      float* to = u + first * depth + k * width + at - first;
      for (int p = 0; p < kPlanes; ++p) hn::StoreU(out[p], d, to + p * plane);
    }
  });
}

// --- forward, and backward data

template <class T>
struct Correlation {
  Tiles x, y;
  const T* input;
  Filters filters;
  const float* bias;
  bool relu;
  T* output;
};

template <class T>
void correlate(CpuStream& stream, const Correlation<T>& a) {
  const int64_t depth = a.filters.depth, columns = a.filters.columns, tiles = a.x.count();
  // A core works on this many tiles at once; all threads get the same share.
  constexpr int64_t kMostTiles = 36;
  const int64_t threads = stream.threads();
  const int64_t blocks = ((tiles + kMostTiles - 1) / kMostTiles + threads - 1) / threads * threads;
  const int64_t block = (tiles + blocks - 1) / blocks;
  const int64_t v_stride = plane_stride(block * depth), m_stride = plane_stride(block * panel());
  // Filters that do not stay in the shared cache come in groups of columns; then the transformed
  // input, smaller than they are, waits for the next group.
  constexpr int64_t kCacheFloats = int64_t{3} << 20;
  const int64_t fitting = kCacheFloats / (kPlanes * depth * panel());
  const bool grouped = kPlanes * depth * columns > kCacheFloats && tiles < columns;
  const int64_t group =
      grouped ? std::min(columns, std::max<int64_t>(1, fitting) * panel()) : columns;
  const int64_t u_stride = plane_stride(depth * group);
  const Scratch<float> u(stream, kPlanes * u_stride);
  const Scratch<float> waiting(stream, grouped ? blocks * kPlanes * v_stride : 0);

  for (int64_t begin = 0; begin < columns; begin += group) {
    const int64_t end = std::min(columns, begin + group),
                  plane = plane_stride(depth * (end - begin));
    transform_filters(stream, a.filters, begin, end - begin, u.data());
    parallel_for(stream, blocks, 1, [&](int64_t b, int64_t last) HWY_ATTR {
      const Scratch<float> scratch(stream, kPlanes * (m_stride + (grouped ? 0 : v_stride)));
      float* m = scratch.data();
      for (; b < last; ++b) {
        float* v = grouped ? waiting.data() + b * kPlanes * v_stride : m + kPlanes * m_stride;
        const int64_t first = b * block, count = std::min(block, tiles - first);
        if (begin == 0)
          for (int64_t t = 0; t < count; ++t)
            gather_tile<InputTransform>(a.x, first + t, a.input, v, v_stride,
                                        [&](int64_t c) { return t * depth + c; });
        for (int64_t column = begin; column < end; column += panel()) {
          const int64_t width = std::min(panel(), end - column);
          for (int64_t p = 0; p < kPlanes; ++p)
            product({.depth = depth,
                     .a = v + p * v_stride,
                     .am = depth,
                     .ak = 1,
                     .b = u.data() + p * plane + (column - begin) * depth,
                     .bk = width,
                     .c = m + p * m_stride,
                     .cm = width,
                     .accumulate = false},
                    count, width);
          for (int64_t t = 0; t < count; ++t)
            scatter_tile(a.y, first + t, m + t * width, m_stride, column, width, a.bias, a.relu,
                         a.output);
        }
      }
    });
  }
}

/// Tiles of x (with its border) and of y for y = conv(x).
Tiles input_tiles(const ConvGeometry& g) {
  return {g.n, g.h, g.w, g.c, (g.ow() + 3) / kTile, (g.oh() + 3) / kTile, g.pad};
}
Tiles output_tiles(const ConvGeometry& g) {
  return {g.n, g.oh(), g.ow(), g.o, (g.ow() + 3) / kTile, (g.oh() + 3) / kTile, 0};
}

void forward(CpuStream& stream, const ConvForward& a) {
  const ConvGeometry& g = a.geometry;
  visit_storage(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    correlate<T>(stream, {.x = input_tiles(g),
                          .y = output_tiles(g),
                          .input = a.x.as<T>(),
                          .filters = {a.w.as<float>(), g.c, g.o, false},
                          .bias = a.bias ? a.bias.as<float>() : nullptr,
                          .relu = a.relu,
                          .output = a.y.as<T>()});
  });
}

void backward_data(CpuStream& stream, const ConvBackwardData& a) {
  const ConvGeometry& g = a.geometry;
  const ConvGeometry turned{.n = g.n,
                            .h = g.oh(),
                            .w = g.ow(),
                            .c = g.o,
                            .o = g.c,
                            .kh = 3,
                            .kw = 3,
                            .stride = 1,
                            .pad = 2 - g.pad};
  visit_storage(a.dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    correlate<T>(stream, {.x = input_tiles(turned),
                          .y = output_tiles(turned),
                          .input = a.dy.as<T>(),
                          .filters = {a.w.as<float>(), g.o, g.c, true},
                          .bias = nullptr,
                          .relu = false,
                          .output = a.dx.as<T>()});
  });
}

// --- backward weight

template <class T>
void correlate_weight(CpuStream& stream, const ConvBackwardWeight& a) {
  const ConvGeometry& g = a.geometry;
  const Tiles x = input_tiles(g), dy = output_tiles(g);
  const int64_t tiles = x.count();
  // Planes of x and dy for as many tiles as stay in the shared cache; the products over them are
  // added up in `du` [36][O][C].
  constexpr int64_t kCacheFloats = int64_t{1} << 20;
  const int64_t chunk = std::clamp<int64_t>(kCacheFloats / (kPlanes * (g.c + g.o)),
                                            std::min<int64_t>(64, tiles), tiles);
  const int64_t v_stride = plane_stride(chunk * g.c), z_stride = plane_stride(chunk * g.o);
  const int64_t panels = (g.c + panel() - 1) / panel(), du_plane = g.o * g.c;
  const Scratch<float> v(stream, kPlanes * v_stride), z(stream, kPlanes * z_stride),
      du(stream, kPlanes * du_plane);
  constexpr int64_t kOutputs = 48;  // of a product, a multiple of kRows
  const int64_t output_blocks = (g.o + kOutputs - 1) / kOutputs;
  for (int64_t first = 0; first < tiles; first += chunk) {
    const int64_t count = std::min(chunk, tiles - first);
    parallel_for(stream, count, 4, [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t t = begin; t < end; ++t) {
        gather_tile<InputTransform>(x, first + t, a.x.as<T>(), v.data(), v_stride, [&](int64_t c) {
          const int64_t column = c / panel() * panel(), width = std::min(panel(), g.c - column);
          return column * count + t * width + c - column;
        });
        gather_tile<OutputAdjoint>(dy, first + t, a.dy.as<T>(), z.data(), z_stride,
                                   [&](int64_t o) { return t * g.o + o; });
      }
    });
    parallel_for(stream, kPlanes * output_blocks, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t p = task / output_blocks, o = task % output_blocks * kOutputs;
        for (int64_t q = 0; q < panels; ++q) {
          const int64_t column = q * panel(), width = std::min(panel(), g.c - column);
          product({.depth = count,
                   .a = z.data() + p * z_stride + o,
                   .am = 1,
                   .ak = g.o,
                   .b = v.data() + p * v_stride + column * count,
                   .bk = width,
                   .c = du.data() + p * du_plane + o * g.c + column,
                   .cm = g.c,
                   .accumulate = first > 0},
                  std::min(kOutputs, g.o - o), width);
        }
      }
    });
  }
  const Wide d;
  float* dw = a.dw.as<float>();
  parallel_for(stream, g.o, 1, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t c = 0; c < g.c; c += lanes()) {
        V in[kPlanes], out[9];
        for (int p = 0; p < kPlanes; ++p)
          in[p] = hn::LoadU(d, du.data() + p * du_plane + o * g.c + c);
        transform<FilterAdjoint>(in, out);
        for (int tap = 0; tap < 9; ++tap) {
          float* to = dw + (o * 9 + tap) * g.c + c;
          hn::StoreU(a.accumulate ? hn::Add(hn::LoadU(d, to), out[tap]) : out[tap], d, to);
        }
      }
  });
}

void backward_weight(CpuStream& stream, const ConvBackwardWeight& a) {
  visit_storage(a.x.dtype, [&](auto zero) { correlate_weight<decltype(zero)>(stream, a); });
}

}  // namespace
}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace passnorm::kernels {
namespace {
HWY_EXPORT(forward);
HWY_EXPORT(backward_data);
HWY_EXPORT(backward_weight);
}  // namespace

bool winograd_pays(const ConvGeometry& g) {
  const int64_t tiles = g.n * ((g.oh() + 3) / 4) * ((g.ow() + 3) / 4);
  // Channels come in whole vectors of every instruction set.
  return g.kh == 3 && g.kw == 3 && g.stride == 1 && g.pad <= 2 && g.c % 16 == 0 && g.o % 16 == 0 &&
         g.c >= 32 && g.o >= 32 && tiles >= 64;
}

void winograd_forward(CpuStream& stream, const ConvForward& a) {
  HWY_DYNAMIC_DISPATCH(forward)(stream, a);
}
void winograd_backward_data(CpuStream& stream, const ConvBackwardData& a) {
  HWY_DYNAMIC_DISPATCH(backward_data)(stream, a);
}
void winograd_backward_weight(CpuStream& stream, const ConvBackwardWeight& a) {
  HWY_DYNAMIC_DISPATCH(backward_weight)(stream, a);
}

}  // namespace passnorm::kernels
#endif  // HWY_ONCE
