#include <algorithm>

#include "kernels/runtime/parallel.hpp"
#include "kernels/transform_common.hpp"

namespace passnorm::kernels {
namespace {

constexpr int64_t kTile =
    16;  // 16 x 16 floats: both sides of the transposition use whole cache lines

/// y[b, j, i] = x[b, i, j] for i < rows and j < columns.
void transpose(CpuStream& stream, int64_t batch, int64_t rows, int64_t columns,
               std::span<const float> x, std::span<float> y) {
  check_transpose(batch, rows, columns, x, y);
  const int64_t strips = (rows + kTile - 1) / kTile;
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, kTile * columns));
  parallel_for(stream, batch * strips, grain, [&](int64_t begin, int64_t end) {
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t offset = strip / strips * rows * columns;
      const int64_t i0 = strip % strips * kTile, i1 = std::min(rows, i0 + kTile);
      for (int64_t j0 = 0; j0 < columns; j0 += kTile)
        for (int64_t j = j0; j < std::min(columns, j0 + kTile); ++j)
          for (int64_t i = i0; i < i1; ++i)
            y[static_cast<size_t>(offset + j * rows + i)] =
                x[static_cast<size_t>(offset + i * columns + j)];
    }
  });
}

}  // namespace

void to_channels_last(CpuStream& stream, const Permute& a) {
  transpose(stream, a.b, a.c, a.s, a.x, a.y);
}
void to_channels_first(CpuStream& stream, const Permute& a) {
  transpose(stream, a.b, a.s, a.c, a.x, a.y);
}

}  // namespace passnorm::kernels
