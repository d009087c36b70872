#include "kernels/cpu/winograd.hpp"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/winograd_planes-inl.hpp"
#include "kernels/runtime/parallel.hpp"
#include "kernels/runtime/scratch.hpp"

HWY_BEFORE_NAMESPACE();
namespace passnorm::kernels::HWY_NAMESPACE {
namespace {

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
