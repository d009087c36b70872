// The 36 planes of transformed tiles: an activation's tiles gathered into them, matrix products of
// planes, and sums of products scattered to an activation. Compiled once per instruction set
// (Highway's foreach_target).

// Highway includes this file again for every instruction set, so the guard is a toggle.
#if defined(PASSNORM_KERNELS_CPU_WINOGRAD_PLANES_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef PASSNORM_KERNELS_CPU_WINOGRAD_PLANES_INL_HPP
#undef PASSNORM_KERNELS_CPU_WINOGRAD_PLANES_INL_HPP
#else
#define PASSNORM_KERNELS_CPU_WINOGRAD_PLANES_INL_HPP
#endif

#include <limits>

#include "kernels/cpu/winograd_transforms-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {

inline int64_t lanes() { return static_cast<int64_t>(hn::Lanes(Wide())); }
/// A plane starts on another cache line than the one before: powers of two would fall into one set.
inline int64_t plane_stride(int64_t elements) { return (elements + 15) / 16 * 16 + 16; }

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

// --- matrix products

// Registers of one matrix product: rows x vectors of sums, vectors of the right factor, one
// broadcast.
inline constexpr int kRows = 6;
inline constexpr int kVectors = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
inline int64_t panel() { return kVectors * lanes(); }  // columns of a packed right factor

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
static void product(const Product& p, int64_t rows, int64_t columns) {
  const int64_t vectors = columns / lanes();
  if constexpr (kVectors == 4) {
    if (vectors == 4) return product_rows<4>(p, rows);
    if (vectors == 3) return product_rows<3>(p, rows);
  }
  if (vectors == 2) return product_rows<2>(p, rows);
  product_rows<1>(p, rows);
}

}  // namespace passnorm::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PASSNORM_KERNELS_CPU_WINOGRAD_PLANES_INL_HPP
