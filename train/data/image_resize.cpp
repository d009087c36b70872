#include <algorithm>
#include <cmath>

#include "kernels/runtime/check.hpp"
#include "train/data/image_file.hpp"

namespace passnorm::train {
namespace {

constexpr int kFractionBits = 22;  ///< of a weight; 8 more for a byte, 2 for sums and sign

/// The weights of the input pixels that make one output pixel.
struct Window {
  int64_t first = 0;
  std::vector<int32_t> weights;  ///< in units of 2^-kFractionBits
};

/// The windows of n output pixels over `in` input pixels.
std::vector<Window> windows(int64_t in, int64_t n) {
  const double scale = static_cast<double>(in) / static_cast<double>(n);
  const double radius = std::max(scale, 1.0);
  std::vector<Window> out(static_cast<size_t>(n));
  std::vector<double> weights;
  for (int64_t i = 0; i < n; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    Window& window = out[static_cast<size_t>(i)];
    window.first = std::max<int64_t>(static_cast<int64_t>(centre - radius + 0.5), 0);
    const int64_t end = std::min(static_cast<int64_t>(centre + radius + 0.5), in);
    double sum = 0;
    weights.clear();
    for (int64_t x = window.first; x < end; ++x) {
      const double distance = std::abs((static_cast<double>(x) - centre + 0.5) * (1 / radius));
      weights.push_back(std::max(1 - distance, 0.0));
      sum += weights.back();
    }
    for (const double weight : weights)
      window.weights.push_back(
          static_cast<int32_t>(0.5 + weight / sum * (int64_t{1} << kFractionBits)));
  }
  return out;
}

uint8_t rounded(int32_t sum) {
  return static_cast<uint8_t>(
      std::clamp((sum + (1 << (kFractionBits - 1))) >> kFractionBits, 0, 255));
}

Picture resize_rows(const Picture& in, int64_t w) {
  if (w == in.size.w) return in;
  const std::vector<Window> columns = windows(in.size.w, w);
  Picture out{{in.size.h, w}, {}};
  out.rgb.reserve(static_cast<size_t>(3 * in.size.h * w));
  for (int64_t y = 0; y < in.size.h; ++y)
    for (const Window& window : columns) {
      const uint8_t* from = in.rgb.data() + 3 * (in.size.w * y + window.first);
      int32_t sum[3] = {};
      for (const int32_t weight : window.weights)
        for (int32_t& s : sum) s += *from++ * weight;
      for (const int32_t s : sum) out.rgb.push_back(rounded(s));
    }
  return out;
}

Picture resize_columns(const Picture& in, int64_t h) {
  if (h == in.size.h) return in;
  const int64_t values = 3 * in.size.w;  // of a row
  Picture out{{h, in.size.w}, {}};
  out.rgb.reserve(static_cast<size_t>(h * values));
  std::vector<int32_t> sum(static_cast<size_t>(values));
  for (const Window& window : windows(in.size.h, h)) {
    std::ranges::fill(sum, 0);
    const uint8_t* from = in.rgb.data() + values * window.first;
    for (const int32_t weight : window.weights)
      for (int32_t& s : sum) s += *from++ * weight;
    for (const int32_t s : sum) out.rgb.push_back(rounded(s));
  }
  return out;
}

/// round(excess / 2), halves to the even.
int64_t half_of(int64_t excess) {
  const int64_t half = excess / 2;
  return half + (excess % 2 != 0 && half % 2 != 0);
}

/// Where `n` of the `size` pixels of a side go in a crop.
struct Overlap {
  Overlap(int64_t size, int64_t crop)
      : n(std::min(size, crop)),
        from(size > crop ? half_of(size - crop) : 0),
        to(size < crop ? (crop - size) / 2 : 0) {}
  int64_t n, from, to;
};

}  // namespace

Picture resize_shorter_side(const Picture& picture, int64_t side) {
  const auto [h, w] = picture.size;
  PASSNORM_CHECK(h > 0 && w > 0 && side > 0, h, " x ", w, " to ", side);
  const ImageLimits limits;
  const int64_t shorter = std::min(h, w), longer = side * std::max(h, w) / shorter;
  if (longer > limits.side || side * longer > limits.pixels)
    fail(Fault::kInput, "a picture of ", w, " x ", h, " pixels is too long and thin: with ", side,
         " pixels on its shorter side it would have ", longer, " on the other");
  return h < w ? resize_columns(resize_rows(picture, longer), side)
               : resize_columns(resize_rows(picture, side), longer);
}

Picture center_crop(const Picture& picture, ImageSize size) {
  PASSNORM_CHECK(size.h > 0 && size.w > 0, size.h, " x ", size.w);
  const Overlap rows(picture.size.h, size.h), columns(picture.size.w, size.w);
  Picture out{size, std::vector<uint8_t>(static_cast<size_t>(3 * size.h * size.w))};
  for (int64_t y = 0; y < rows.n; ++y)
    std::copy_n(picture.rgb.data() + 3 * (picture.size.w * (rows.from + y) + columns.from),
                3 * columns.n, out.rgb.data() + 3 * (size.w * (rows.to + y) + columns.to));
  return out;
}

void append_planes(const Picture& picture, std::vector<uint8_t>& images) {
  for (size_t c = 0; c < 3; ++c)
    for (size_t i = c; i < picture.rgb.size(); i += 3) images.push_back(picture.rgb[i]);
}

}  // namespace passnorm::train
