#include "kernels/augment.hpp"

#include <algorithm>
#include <vector>

#include "kernels/runtime/parallel.hpp"
#include "kernels/runtime/random.hpp"

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
      table[ch][value] = T((static_cast<float>(value) / 255.0f - a.mean[ch]) / a.stddev[ch]);
  return table;
}

/// Source column (or row) of every output column, -1 in the padding.
void source_positions(int64_t offset, bool mirrored, std::span<int64_t> source) {
  const auto size = static_cast<int64_t>(source.size());
  for (int64_t i = 0; i < size; ++i) {
    const int64_t position = i + offset;
    const bool inside = position >= 0 && position < size;
    source[static_cast<size_t>(i)] = !inside ? -1 : mirrored ? size - 1 - position : position;
  }
}

template <class T>
void augment_typed(CpuStream& stream, const Augment& a) {
  const Table<T> table = normalisation<T>(a);
  const Random random(a.seed, Purpose::kAugment, a.epoch);
  const int64_t plane = a.h * a.w, image = a.c * plane;
  T* const y = a.y.as<T>();
  auto offset = [&](uint32_t word) {  // uniform in [-pad, pad]
    return static_cast<int64_t>((uint64_t{word} * static_cast<uint64_t>(2 * a.pad + 1)) >> 32) -
           a.pad;
  };
  parallel_for(stream, a.n, std::max<int64_t>(1, 16384 / image), [&](int64_t begin, int64_t end) {
    std::vector<int64_t> rows(static_cast<size_t>(a.h)), columns(static_cast<size_t>(a.w));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t index = a.index[static_cast<size_t>(i)];
      const PhiloxWords words = random.words(static_cast<uint64_t>(index));
      source_positions(offset(words.w[0]), false, rows);
      source_positions(offset(words.w[1]), a.flip && (words.w[2] >> 31) != 0, columns);
      const uint8_t* const from = a.images.data() + index * image;
      for (int64_t ch = 0; ch < a.c; ++ch) {
        const std::array<T, 256>& normalised = table[static_cast<size_t>(ch)];
        T* to = y + i * image + ch;
        for (const int64_t row : rows) {
          const uint8_t* const line = from + ch * plane + std::max<int64_t>(row, 0) * a.w;
          for (const int64_t column : columns) {
            *to = normalised[row < 0 || column < 0 ? 0 : line[column]];
            to += a.c;
          }
        }
      }
    }
  });
}

}  // namespace

void augment(CpuStream& stream, const Augment& a) {
  PASSNORM_CHECK(a.c >= 1 && a.c <= 4, a.c, " channels, not 1 to 4");
  PASSNORM_CHECK(a.h > 0 && a.w > 0 && a.pad >= 0, "images of ", a.h, " x ", a.w, ", pad ", a.pad);
  const int64_t image = a.c * a.h * a.w, count = static_cast<int64_t>(a.images.size()) / image;
  PASSNORM_CHECK(static_cast<int64_t>(a.index.size()) == a.n, a.index.size(), " indices for ", a.n,
                 " images");
  PASSNORM_CHECK(a.y.size == a.n * image, "y has ", a.y.size, " elements, not ", a.n * image);
  for (const int64_t index : a.index)
    PASSNORM_CHECK(index >= 0 && index < count, "image ", index, " of ", count);
  visit_storage(a.y.dtype, [&](auto zero) { augment_typed<decltype(zero)>(stream, a); });
}

}  // namespace passnorm::kernels
