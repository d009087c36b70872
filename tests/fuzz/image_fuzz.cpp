#include "engine/io/file.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/support/images.hpp"

void passnorm::fuzz::run(std::span<const std::byte> input) {
  train::Picture picture;
  if (!accepts({Fault::kInput},
               [&] { picture = train::decode_image("f", input, {.side = 256, .pixels = 16384}); }))
    return;
  const auto [h, w] = picture.size;
  require(h > 0 && w > 0 && h <= 256 && w <= 256 && h * w <= 16384, "the size is in its limits");
  require(std::ssize(picture.rgb) == 3 * h * w, "every pixel is there");
  require(train::decode_image("f", bytes_of(test::png_file(picture))).rgb == picture.rgb,
          "a PNG of it is the same picture");
  require(train::center_crop(picture, {32, 32}).rgb.size() == 3 * 32 * 32, "the crop has its size");
  if (std::max(h, w) > 64 * std::min(h, w)) return;
  const train::Picture resized = train::resize_shorter_side(picture, 8);
  require(std::min(resized.size.h, resized.size.w) == 8 &&
              std::ssize(resized.rgb) == 3 * resized.size.h * resized.size.w,
          "the shorter side has the new size");
}
