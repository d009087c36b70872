#include <algorithm>
#include <vector>

#include "kernels/augment_common.hpp"
#include "kernels/runtime/parallel.hpp"

namespace passnorm::kernels {
namespace {

/// (value / 255 - mean) / std of every byte, per channel.
template <class T>
using Table = std::array<std::array<T, 256>, 4>;

template <class T>
Table<T> normalisation(const Augment& a) {
  Table<T> table;
  for (size_t ch = 0; ch < static_cast<size_t>(a.c); ++ch)
    for (size_t value = 0; value < 256; ++value)
      table[ch][value] = T(normalised(static_cast<int>(value), a.mean[ch], a.stddev[ch]));
  return table;
}

void source_positions(int64_t start, bool mirrored, std::span<int64_t> source) {
  const auto size = static_cast<int64_t>(source.size());
  for (int64_t i = 0; i < size; ++i)
    source[static_cast<size_t>(i)] = source_position(i, start, size, mirrored);
}

template <class T>
void augment_typed(CpuStream& stream, const Augment& a) {
  const Table<T> table = normalisation<T>(a);
  const Random random(a.seed, Purpose::kAugment, a.epoch.get());
  const int64_t plane = a.h * a.w, image = a.c * plane;
  T* const y = a.y.as<T>();
  parallel_for(stream, a.n, std::max<int64_t>(1, 16384 / image), [&](int64_t begin, int64_t end) {
    std::vector<int64_t> rows(static_cast<size_t>(a.h)), columns(static_cast<size_t>(a.w));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t index = a.index[static_cast<size_t>(i)];
      const Window window = draw_window(random, index, a.pad, a.flip);
      source_positions(window.top, false, rows);
      source_positions(window.left, window.mirrored, columns);
      const uint8_t* const from = a.images.data() + index * image;
      for (int64_t ch = 0; ch < a.c; ++ch) {
        const std::array<T, 256>& values = table[static_cast<size_t>(ch)];
        T* to = y + i * image + ch;
        for (const int64_t row : rows) {
          const uint8_t* const line = from + ch * plane + std::max<int64_t>(row, 0) * a.w;
          for (const int64_t column : columns) {
            *to = values[row < 0 || column < 0 ? 0 : line[column]];
            to += a.c;
          }
        }
      }
    }
  });
}

}  // namespace

void augment(CpuStream& stream, const Augment& a) {
  check(a);
  const int64_t count = static_cast<int64_t>(a.images.size()) / (a.c * a.h * a.w);
  for (const int64_t index : a.index)
    PASSNORM_CHECK(index >= 0 && index < count, "image ", index, " of ", count);
  visit_storage(a.y.dtype, [&](auto zero) { augment_typed<decltype(zero)>(stream, a); });
  for (size_t i = 0; i < a.picked_labels.size(); ++i)
    a.picked_labels[i] = a.labels[static_cast<size_t>(a.index[i])];
}

}  // namespace passnorm::kernels
