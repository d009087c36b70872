// Pictures for tests: a pattern, and PNG and JPEG files of it. The PNG writer is written from the
// standard (ISO/IEC 15948) and shares nothing with libpng, so that files can be wrong in any way.
#pragma once

#include <turbojpeg.h>

#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "train/data/image_file.hpp"

namespace passnorm::test {

/// Colours that differ between neighbours, channels and rows; the tests' expected hashes were
/// computed from the same formula in Python.
inline train::Picture pattern(train::ImageSize size) {
  train::Picture picture{size, {}};
  for (int64_t y = 0; y < size.h; ++y)
    for (int64_t x = 0; x < size.w; ++x)
      for (int64_t c = 0; c < 3; ++c)
        picture.rgb.push_back(
            static_cast<uint8_t>((x * x * 7 + y * 31 + x * y * (c + 3) + c * 50)));
  return picture;
}

inline std::string big_endian(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

/// CRC-32 of PNG chunks.
inline uint32_t crc32(std::string_view bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const char byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

inline std::string png_chunk(const std::string& type, const std::string& data) {
  return big_endian(static_cast<uint32_t>(data.size())) + type + data +
         big_endian(crc32(type + data));
}

/// A zlib stream of stored blocks (RFC 1950, 1951).
inline std::string stored(std::string_view data) {
  std::string out = "\x78\x01";
  uint32_t a = 1, b = 0;
  for (const char byte : data) {
    a = (a + static_cast<uint8_t>(byte)) % 65521;
    b = (b + a) % 65521;
  }
  do {
    const std::string_view block = data.substr(0, 65535);
    data.remove_prefix(block.size());
    const auto n = static_cast<uint16_t>(block.size());
    out += static_cast<char>(data.empty());
    for (const int word : {n & 0xffff, ~n & 0xffff})
      out += {static_cast<char>(word), static_cast<char>(word >> 8)};
    out += block;
  } while (!data.empty());
  return out + big_endian(b << 16 | a);
}

constexpr std::string_view kPngSignature("\x89PNG\r\n\x1a\n", 8);

inline std::string png_header(train::ImageSize size, int depth, int colour_type,
                              int interlace = 0) {
  return png_chunk("IHDR", big_endian(static_cast<uint32_t>(size.w)) +
                               big_endian(static_cast<uint32_t>(size.h)) +
                               std::string{static_cast<char>(depth), static_cast<char>(colour_type),
                                           0, 0, static_cast<char>(interlace)});
}

/// A PNG file. rows: unfiltered, each with its filter byte; extra: chunks before the pixels.
inline std::string png_file(const std::string& header, const std::string& rows,
                            const std::string& extra = {}) {
  return std::string(kPngSignature) + header + extra + png_chunk("IDAT", stored(rows)) +
         png_chunk("IEND", "");
}

/// Rows of an RGB PNG with 8 bits a value.
inline std::string png_rows(const train::Picture& picture) {
  std::string rows;
  for (int64_t y = 0; y < picture.size.h; ++y) {
    rows += '\0';
    rows.append(reinterpret_cast<const char*>(picture.rgb.data()) + 3 * picture.size.w * y,
                static_cast<size_t>(3 * picture.size.w));
  }
  return rows;
}

inline std::string png_file(const train::Picture& picture) {
  return png_file(png_header(picture.size, 8, 2), png_rows(picture));
}

struct JpegOptions {
  int quality = 95;
  int subsampling = TJSAMP_444;
  int flags = 0;
};

/// pixels: [h, w, values of the format].
inline std::string jpeg_file(train::ImageSize size, const uint8_t* pixels, int format,
                             const JpegOptions& options = {}) {
  const std::unique_ptr<void, decltype(&tjDestroy)> encoder(tjInitCompress(), &tjDestroy);
  unsigned char* out = nullptr;
  unsigned long bytes = 0;  // NOLINT: the type of the interface
  const int status =
      tjCompress2(encoder.get(), pixels, static_cast<int>(size.w), 0, static_cast<int>(size.h),
                  format, &out, &bytes, options.subsampling, options.quality, options.flags);
  if (status != 0) throw std::runtime_error(tjGetErrorStr2(encoder.get()));
  std::string file(reinterpret_cast<const char*>(out), bytes);
  tjFree(out);
  return file;
}

inline std::string jpeg_file(const train::Picture& picture, const JpegOptions& options = {}) {
  return jpeg_file(picture.size, picture.rgb.data(), TJPF_RGB, options);
}

}  // namespace passnorm::test
