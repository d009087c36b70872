#include <cmath>

#include "engine/io/crypto.hpp"
#include "tests/support/files.hpp"
#include "tests/support/images.hpp"

namespace passnorm::train {
namespace {

using test::jpeg_file;
using test::pattern;
using test::png_file;
using test::png_header;
using test::refusal;

Picture decode(const std::string& file, const ImageLimits& limits = {}) {
  return decode_image("x.img", bytes_of(file), limits);
}

std::string hash_of(const Picture& picture) {
  return to_hex(sha256(std::as_bytes(std::span(picture.rgb))));
}

/// Rows of bytes behind their filter bytes.
std::string rows_of(const std::vector<std::string>& rows) {
  std::string out;
  for (const std::string& row : rows) out += '\0' + row;
  return out;
}

TEST(Png, RgbToTheByte) {
  for (const ImageSize size : {ImageSize{1, 1}, ImageSize{5, 3}, ImageSize{33, 70}}) {
    const Picture picture = pattern(size), read = decode(png_file(picture));
    EXPECT_EQ(read.size, size);
    EXPECT_EQ(read.rgb, picture.rgb);
  }
}

TEST(Png, EveryKindBecomesRgb) {
  using Bytes = std::vector<uint8_t>;
  const std::string palette = test::png_chunk("PLTE", "\x01\x02\x03\x0a\x0b\x0c\x64\x65\x66");
  const std::string gamma = test::png_chunk("gAMA", test::big_endian(100000));
  const struct {
    const char* what;
    int depth, colour_type;
    std::string row, extra;  // of one row with 2 pixels
    Bytes expected;
  } cases[] = {
      {"grey of 1 bit", 1, 0, "\x40", "", {0, 0, 0, 255, 255, 255}},
      {"grey of 2 bits", 2, 0, "\x60", "", {85, 85, 85, 170, 170, 170}},
      {"grey of 4 bits", 4, 0, "\x1f", "", {17, 17, 17, 255, 255, 255}},
      {"grey of 8 bits", 8, 0, "\x07\xc8", "", {7, 7, 7, 200, 200, 200}},
      {"grey of 16 bits: the upper 8", 16, 0, "\x07\xff\xc8\x01", "", {7, 7, 7, 200, 200, 200}},
      {"palette of 2 bits", 2, 3, "\x60", palette, {10, 11, 12, 100, 101, 102}},
      {"palette of 8 bits", 8, 3, "\x02\x01", palette, {100, 101, 102, 10, 11, 12}},
      {"palette with transparency: dropped",
       8,
       3,
       "\x02\x01",
       palette + test::png_chunk("tRNS", std::string("\0\x10\x20", 3)),
       {100, 101, 102, 10, 11, 12}},
      {"grey with a transparent value: dropped",
       8,
       0,
       "\x07\xc8",
       test::png_chunk("tRNS", std::string("\0\x07", 2)),
       {7, 7, 7, 200, 200, 200}},
      {"grey with alpha: dropped", 8, 4, {"\x07\0\xc8\x80", 4}, "", {7, 7, 7, 200, 200, 200}},
      {"RGB with alpha: dropped",
       8,
       6,
       {"\x01\x02\x03\0\x0a\x0b\x0c\x80", 8},
       "",
       {1, 2, 3, 10, 11, 12}},
      {"RGB of 16 bits",
       16,
       2,
       "\x01\x80\x02\x80\x03\x80\x0a\xff\x0b\xff\x0c\xff",
       "",
       {1, 2, 3, 10, 11, 12}},
      {"gamma: not applied", 8, 0, "\x07\xc8", gamma, {7, 7, 7, 200, 200, 200}},
  };
  for (const auto& c : cases)
    EXPECT_EQ(
        decode(png_file(png_header({1, 2}, c.depth, c.colour_type), rows_of({c.row}), c.extra)).rgb,
        c.expected)
        << c.what;
}

TEST(Png, Interlaced) {
  const Picture picture = pattern({11, 13});
  struct Pass {
    int64_t x, y, dx, dy;
  };
  std::string rows;  // Adam7
  for (const auto& [x0, y0, dx, dy] :
       {Pass{0, 0, 8, 8}, Pass{4, 0, 8, 8}, Pass{0, 4, 4, 8}, Pass{2, 0, 4, 4}, Pass{0, 2, 2, 4},
        Pass{1, 0, 2, 2}, Pass{0, 1, 1, 2}})
    for (int64_t y = y0; y < picture.size.h; y += dy) {
      rows += '\0';
      for (int64_t x = x0; x < picture.size.w; x += dx)
        rows.append(
            reinterpret_cast<const char*>(&picture.rgb[size_t(3 * (y * picture.size.w + x))]), 3);
    }
  EXPECT_EQ(decode(png_file(png_header(picture.size, 8, 2, 1), rows)).rgb, picture.rgb);
}

double largest_difference(const Picture& a, const Picture& b) {
  double largest = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i)
    largest = std::max<double>(largest, std::abs(a.rgb[i] - b.rgb[i]));
  return largest;
}

/// Smooth, so that a JPEG of it is close.
Picture gradient(ImageSize size) {
  Picture picture{size, {}};
  for (int64_t y = 0; y < size.h; ++y)
    for (int64_t x = 0; x < size.w; ++x)
      for (const int64_t value : {x * 255 / size.w, y * 255 / size.h, 128 + (x - y) * 60 / size.w})
        picture.rgb.push_back(static_cast<uint8_t>(value));
  return picture;
}

TEST(Jpeg, CloseToWhatWasEncoded) {
  const Picture picture = gradient({61, 83});
  for (const test::JpegOptions& options :
       {test::JpegOptions{}, {.subsampling = TJSAMP_420}, {.flags = TJFLAG_PROGRESSIVE}}) {
    const Picture read = decode(jpeg_file(picture, options));
    EXPECT_EQ(read.size, picture.size);
    EXPECT_LE(largest_difference(read, picture), 12);
  }
}

TEST(Jpeg, GreyBecomesRgb) {
  const std::vector<uint8_t> grey(16 * 8, 90);
  const Picture read =
      decode(jpeg_file({8, 16}, grey.data(), TJPF_GRAY, {.subsampling = TJSAMP_GRAY}));
  EXPECT_EQ(read.size, (ImageSize{8, 16}));
  EXPECT_EQ(read.rgb, std::vector<uint8_t>(3 * 16 * 8, 90));
}

TEST(Jpeg, BytesBehindThePictureAreLeft) {
  const std::string file = jpeg_file(gradient({8, 8}));
  EXPECT_EQ(decode(file + "preview").rgb, decode(file).rgb);
}

TEST(ImageFile, RefusesInOneLine) {
  const std::string png = png_file(pattern({9, 9})), jpeg = jpeg_file(gradient({40, 40}));
  const std::vector<uint8_t> four(4 * 8 * 8, 90);
  const auto changed = [](std::string text, size_t at) {
    text[at] = static_cast<char>(text[at] ^ 0x55);
    return text;
  };
  const auto size = [](uint32_t h, uint32_t w) {
    return png_file(png_header({h, w}, 8, 2), std::string(100, '\0'));
  };
  /// A JPEG whose frame header declares another size.
  const auto jpeg_size = [&](int h, int w) {
    std::string text = jpeg;
    const size_t frame = text.find("\xff\xc0");
    for (const auto& [at, value] : {std::pair{5, h >> 8}, {6, h}, {7, w >> 8}, {8, w}})
      text[frame + static_cast<size_t>(at)] = static_cast<char>(value);
    return text;
  };
  const struct {
    std::string file;
    const char* reason;
  } cases[] = {
      {"", "x.img: the file is empty, expected a JPEG or PNG picture"},
      {"GIF89a\x1b\n", "x.img: neither JPEG nor PNG: it starts with the bytes 4749463839611b0a"},
      {"\xff", "neither JPEG nor PNG: it starts with the bytes ff"},
      {png.substr(0, 8), "x.img: damaged PNG: the file ends too early"},
      {png.substr(0, 20), "damaged PNG: the file ends too early"},
      {png.substr(0, png.size() - 60), "damaged PNG: the file ends too early"},
      {png.substr(0, png.size() - 1), "damaged PNG: the file ends too early"},
      {png + "x", "damaged PNG: bytes after its end"},
      {changed(png, 18), "damaged PNG: IHDR: CRC error"},
      {changed(png, png.size() - 30), "damaged PNG: IDAT: incorrect data check"},
      {changed(png, png.size() - 14), "damaged PNG: IDAT: CRC error"},
      {png_file(png_header({9, 9}, 8, 5), ""), "damaged PNG: Invalid IHDR data"},
      {png_file(png_header({9, 9}, 8, 2), "\0\0\0"), "damaged PNG: Not enough image data"},
      {png_file(png_header({1, 2}, 8, 3), std::string(3, '\0')),
       "damaged PNG: IDAT: Missing PLTE before IDAT"},
      {size(0, 5), "damaged PNG: Invalid IHDR data"},
      {size(16385, 1), "a picture of 1 x 16385 pixels; expected 1 to 16384 a side"},
      {size(1, 16385), "a picture of 16385 x 1 pixels"},
      {size(1, 0x7fffffff), "a picture of 2147483647 x 1 pixels"},
      {size(8193, 8192),
       "a picture of 8192 x 8193 pixels; expected 1 to 16384 a side and at most "
       "67108864 in all"},
      {jpeg.substr(0, 3), "x.img: damaged JPEG: it ends before a picture begins"},
      {jpeg.substr(0, 100), "damaged JPEG: "},
      {jpeg.substr(0, jpeg.size() - 20), "damaged JPEG: Premature end of JPEG file"},
      {jpeg.substr(0, jpeg.size() - 2), "damaged JPEG: Premature end of JPEG file"},
      {jpeg_size(48, 40), "damaged JPEG: "},
      {jpeg_size(65500, 40), "a picture of 40 x 65500 pixels"},
      {jpeg_size(16384, 16384), "a picture of 16384 x 16384 pixels"},
      {jpeg_size(0, 40), "damaged JPEG: Empty"},
      {jpeg_file({8, 8}, four.data(), TJPF_CMYK),
       "x.img: a four-colour (CMYK) JPEG; expected RGB or grey"},
  };
  for (const auto& c : cases)
    EXPECT_CONTAINS(refusal(Fault::kInput, [&] { decode(c.file); }), c.reason);
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { decode(png, {.side = 8}); }), "1 to 8 a side");
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { decode(jpeg, {.pixels = 1599}); }), "at most 1599");
  EXPECT_EQ(decode(png, {.side = 9, .pixels = 81}).size, (ImageSize{9, 9}));
}

/// The definition: every output pixel is the mean of the input, weighted by the product of two
/// triangles around its centre.
double resized(const Picture& in, ImageSize out, int64_t y, int64_t x, int64_t c) {
  const auto weight = [](int64_t i, int64_t from, int64_t to, int64_t o) {
    const double scale = static_cast<double>(from) / static_cast<double>(to);
    const double distance =
        std::abs(static_cast<double>(i) + 0.5 - (static_cast<double>(o) + 0.5) * scale);
    return std::max(0.0, 1 - distance / std::max(1.0, scale));
  };
  double sum = 0, weights = 0;
  for (int64_t v = 0; v < in.size.h; ++v)
    for (int64_t u = 0; u < in.size.w; ++u) {
      const double w = weight(v, in.size.h, out.h, y) * weight(u, in.size.w, out.w, x);
      sum += w * in.rgb[static_cast<size_t>(3 * (v * in.size.w + u) + c)];
      weights += w;
    }
  return sum / weights;
}

TEST(Resize, IsTheWeightedMean) {
  const struct {
    ImageSize from;
    int64_t side;
    ImageSize to;
  } cases[] = {{{20, 20}, 7, {7, 7}},   {{20, 33}, 7, {7, 11}},  {{33, 20}, 7, {11, 7}},
               {{5, 8}, 11, {11, 17}},  {{40, 9}, 12, {53, 12}}, {{1, 1}, 3, {3, 3}},
               {{31, 32}, 31, {31, 32}}};
  for (const auto& c : cases) {
    const Picture in = pattern(c.from), out = resize_shorter_side(in, c.side);
    ASSERT_EQ(out.size, c.to);
    ASSERT_EQ(out.rgb.size(), static_cast<size_t>(3 * c.to.h * c.to.w));
    for (int64_t i = 0; i < std::ssize(out.rgb); ++i)
      // Each of two passes rounds to the nearest byte.
      ASSERT_NEAR(out.rgb[static_cast<size_t>(i)],
                  resized(in, c.to, i / 3 / c.to.w, i / 3 % c.to.w, i % 3), 1.01)
          << i << " of " << c.from.h << " x " << c.from.w;
  }
}

TEST(Resize, ToTheByteWhatPilGives) {
  const struct {
    ImageSize from;
    int64_t side;
    ImageSize to;
    const char* hash;  // of Image.resize(.., BILINEAR), Pillow 13.0.0
  } cases[] = {
      {{45, 61}, 32, {32, 43}, "8b42e73072464fb3569a43e166761563b0e8ccf4c178bd5a775e386928608474"},
      {{61, 45}, 32, {43, 32}, "3bcc16b97d1cb6e00199588a65161e7efe5f22ec42687300d03014e367c5f61c"},
      {{20, 20}, 32, {32, 32}, "34d2cfac1977312a575cf562d82fc493d8b8293484319141e8bc6dd4054310aa"},
      {{100, 301},
       32,
       {32, 96},
       "c096acb708ceb00c5a99552b1b03d09b008e8148bd17ef7dc3caee3b3b8e71ec"},
      {{7, 9}, 64, {64, 82}, "59597aa0718e1e4d72b7aec76ab755d9dfaeb6e0137989a72be1ac25f23776fd"},
      {{300, 17},
       17,
       {300, 17},
       "ecba824dfaad66f07c9697518e2b62aa247e14513a7839acde6517986315aac4"},
      {{333, 500},
       224,
       {224, 336},
       "459e1b66ad465f5e0688b874a3ec45a08951a0a74c449d8bfb6cda49609d1fe5"}};
  for (const auto& c : cases) {
    const Picture out = resize_shorter_side(pattern(c.from), c.side);
    EXPECT_EQ(out.size, c.to);
    EXPECT_EQ(hash_of(out), c.hash) << c.from.h << " x " << c.from.w;
  }
}

TEST(Resize, RefusesWhatWouldGetTooLarge) {
  EXPECT_CONTAINS(
      refusal(Fault::kInput,
              [] {
                resize_shorter_side(pattern({1, 600}), 256);
              }),
      "a picture of 600 x 1 pixels is too long and thin: with 256 pixels on its shorter side it "
      "would have 153600 on the other");
  refusal(Fault::kInput, [] { resize_shorter_side(pattern({2, 2}), 8193); });
  refusal(Fault::kBug, [] { resize_shorter_side(pattern({2, 2}), 0); });
}

TEST(CenterCrop, TheMiddle) {
  const Picture in = pattern({7, 6});
  // Excess 4 and 3: from row 2 and, half to the even, from column 2.
  const Picture out = center_crop(in, {3, 3});
  for (int64_t y = 0; y < 3; ++y)
    for (int64_t x = 0; x < 3; ++x)
      for (int64_t c = 0; c < 3; ++c)
        EXPECT_EQ(out.rgb[static_cast<size_t>(3 * (3 * y + x) + c)],
                  in.rgb[static_cast<size_t>(3 * (6 * (y + 2) + x + 2) + c)]);
  EXPECT_EQ(center_crop(in, in.size).rgb, in.rgb);
}

TEST(CenterCrop, PadsWithZeros) {
  Picture in{{1, 2}, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(center_crop(in, {2, 5}).rgb,  // before: 0 rows, 1 column; after: 1 row, 2 columns
            (std::vector<uint8_t>{0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0,  //
                                  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST(CenterCrop, WhatTorchvisionGives) {
  const struct {
    ImageSize from;
    const char* hash;  // of torchvision's CenterCrop(32), written down in Python on Pillow's crop
  } cases[] = {{{45, 61}, "a94064b54c3279a90bda1533da80c73b6a1f6cb5a2144a022b46ff6201132636"},
               {{32, 33}, "e45661b1984e32de0d1f46a63adb8d2aebdbd3a159a322b9d7346c485b472396"},
               {{33, 35}, "37b1e8331671b83440d05a96418e0f90edf40c2bb4e99f49a22a7db5260de69b"},
               {{34, 35}, "463ecdbe30770b9fa994b761f5a47d08ff84bf298cfde3c96eba459b0ff0d0b4"},
               {{5, 6}, "0e33d99bb5db9183b45248b7d1d42861586b329e8a3534473d6cda9374ebced5"},
               {{31, 100}, "1fd265c47a313c8da16446597a03a06158985c5f0de9aef172746ff5d8fe14e0"},
               {{101, 31}, "230a29187fe39e24d373419323cbcc8c330e1765cda0dce33592ae07bff4c421"}};
  for (const auto& c : cases)
    EXPECT_EQ(hash_of(center_crop(pattern(c.from), {32, 32})), c.hash)
        << c.from.h << " x " << c.from.w;
}

}  // namespace
}  // namespace passnorm::train
