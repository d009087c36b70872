#include "train/data/image_file.hpp"

#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "engine/io/crypto.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::train {
namespace {

constexpr uint8_t kPngStart[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr uint8_t kJpegStart[3] = {0xff, 0xd8, 0xff};

bool starts_with(std::span<const std::byte> bytes, std::span<const uint8_t> start) {
  return bytes.size() >= start.size() && std::memcmp(bytes.data(), start.data(), start.size()) == 0;
}

/// The bytes of a picture of this size, not yet filled.
Picture picture_of(std::string_view name, ImageSize size, const ImageLimits& limits) {
  if (size.h < 1 || size.w < 1 || size.h > limits.side || size.w > limits.side ||
      size.h * size.w > limits.pixels)
    fail(Fault::kInput, name, ": a picture of ", size.w, " x ", size.h, " pixels; expected 1 to ",
         limits.side, " a side and at most ", limits.pixels, " in all");
  return {size, std::vector<uint8_t>(static_cast<size_t>(3 * size.h * size.w))};
}

Picture decode_jpeg(std::string_view name, std::span<const std::byte> bytes,
                    const ImageLimits& limits) {
  const std::unique_ptr<void, decltype(&tjDestroy)> decoder(tjInitDecompress(), &tjDestroy);
  if (!decoder) fail(Fault::kMemory, name, ": no memory for a JPEG decoder");
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto check = [&](int status) {
    if (status == 0) return;
    std::string_view reason = tjGetErrorStr2(decoder.get());  // may start with "tjDecompress2(): "
    if (const size_t end = reason.find("(): "); end != std::string_view::npos)
      reason.remove_prefix(end + 4);
    fail(Fault::kInput, name, ": damaged JPEG: ", printable(reason, 160));
  };
  int w = 0, h = 0, subsampling = 0, colours = 0;
  check(tjDecompressHeader3(decoder.get(), data, bytes.size(), &w, &h, &subsampling, &colours));
  if (w == 0) fail(Fault::kInput, name, ": damaged JPEG: it ends before a picture begins");
  if (colours == TJCS_CMYK || colours == TJCS_YCCK)
    fail(Fault::kInput, name, ": a four-colour (CMYK) JPEG; expected RGB or grey");
  Picture picture = picture_of(name, {h, w}, limits);
  // A warning means bytes that are missing or make no sense, and grey pixels in their place.
  check(tjDecompress2(decoder.get(), data, bytes.size(), picture.rgb.data(), w, 0, h, TJPF_RGB,
                      TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS));
  return picture;
}

/// libpng reports errors by longjmp: nothing that has a destructor lives in the functions that it
/// returns through.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> bytes) : rest_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &on_error, &on_warning);
    if (png_) info_ = png_create_info_struct(png_);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool ready() const { return info_ != nullptr; }
  const char* error() const { return error_; }
  bool at_end() const { return rest_.empty(); }

  /// False: see error().
  bool read_size(ImageSize& size) {
    if (setjmp(jump_) != 0) return false;
    png_set_read_fn(png_, this, &on_read);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // the caller has a better message
    png_read_info(png_, info_);
    size = {png_get_image_height(png_, info_), png_get_image_width(png_, info_)};
    return true;
  }

  /// rgb: [h, w, 3] of the size read before.
  bool read_rows(uint8_t* rgb, ImageSize size) {
    if (setjmp(jump_) != 0) return false;
    png_set_expand(png_);
    png_set_strip_16(png_);
    png_set_gray_to_rgb(png_);
    png_set_strip_alpha(png_);
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (static_cast<int64_t>(png_get_rowbytes(png_, info_)) != 3 * size.w)
      png_error(png_, "pixels that cannot be made RGB");
    for (int pass = 0; pass < passes; ++pass)
      for (int64_t y = 0; y < size.h; ++y) png_read_row(png_, rgb + 3 * size.w * y, nullptr);
    png_read_end(png_, nullptr);
    return true;
  }

 private:
  static PngReader& self(png_structp png) {
    return *static_cast<PngReader*>(png_get_error_ptr(png));
  }
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    PngReader& reader = self(png);
    std::snprintf(reader.error_, sizeof reader.error_, "%s", message);
    std::longjmp(reader.jump_, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}  // of text and profiles: not looked at
  static void on_read(png_structp png, png_bytep to, size_t count) {
    PngReader& reader = self(png);
    if (reader.rest_.size() < count) png_error(png, "the file ends too early");
    std::memcpy(to, reader.rest_.data(), count);
    reader.rest_ = reader.rest_.subspan(count);
  }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::span<const std::byte> rest_;
  std::jmp_buf jump_;
  char error_[160] = {};
};

Picture decode_png(std::string_view name, std::span<const std::byte> bytes,
                   const ImageLimits& limits) {
  PngReader reader(bytes);
  if (!reader.ready()) fail(Fault::kMemory, name, ": no memory for a PNG decoder");
  const auto check = [&](bool read) {
    if (!read) fail(Fault::kInput, name, ": damaged PNG: ", printable(reader.error(), 160));
  };
  ImageSize size;
  check(reader.read_size(size));
  Picture picture = picture_of(name, size, limits);
  check(reader.read_rows(picture.rgb.data(), size));
  if (!reader.at_end()) fail(Fault::kInput, name, ": damaged PNG: bytes after its end");
  return picture;
}

/// As PngReader.
class PngWriter {
 public:
  PngWriter() {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, this, &on_error, nullptr);
    if (png_) info_ = png_create_info_struct(png_);
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  bool ready() const { return info_ != nullptr; }

  /// Appends the file to `to`, which has room for it.
  bool write(const Picture& picture, std::vector<std::byte>& to) {
    if (setjmp(jump_) != 0) return false;
    png_set_write_fn(png_, &to, &on_write, nullptr);
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(picture.size.w),
                 static_cast<png_uint_32>(picture.size.h), 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    for (int64_t y = 0; y < picture.size.h; ++y)
      png_write_row(png_, picture.rgb.data() + 3 * picture.size.w * y);
    png_write_end(png_, nullptr);
    return true;
  }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp) {
    std::longjmp(static_cast<PngWriter*>(png_get_error_ptr(png))->jump_, 1);
  }
  static void on_write(png_structp png, png_bytep data, size_t count) {
    auto& to = *static_cast<std::vector<std::byte>*>(png_get_io_ptr(png));
    // No exception may pass through libpng.
    if (to.capacity() - to.size() < count) png_error(png, "no room");
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    to.insert(to.end(), bytes, bytes + count);
  }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_;
};

}  // namespace

std::vector<std::byte> encode_png(const Picture& picture) {
  const ImageSize size = picture.size;
  PASSNORM_CHECK(size.h > 0 && size.w > 0 && std::ssize(picture.rgb) == 3 * size.h * size.w, size.h,
                 " x ", size.w, " pixels in ", picture.rgb.size(), " bytes");
  std::vector<std::byte> bytes;
  // A filter byte a row; zlib adds less than 1 in 1000 to what it cannot compress, and 12 bytes to
  // each chunk of 8 KiB.
  bytes.reserve(static_cast<size_t>((3 * size.w + 1) * size.h / 100 * 101 + 4096));
  PngWriter writer;
  if (!writer.ready() || !writer.write(picture, bytes))
    fail(Fault::kMemory, "no memory for a PNG file of ", size.w, " x ", size.h, " pixels");
  return bytes;
}

Picture decode_image(std::string_view name, std::span<const std::byte> bytes,
                     const ImageLimits& limits) {
  if (bytes.empty())
    fail(Fault::kInput, name, ": the file is empty, expected a JPEG or PNG picture");
  if (starts_with(bytes, kJpegStart)) return decode_jpeg(name, bytes, limits);
  if (starts_with(bytes, kPngStart)) return decode_png(name, bytes, limits);
  const auto* first = reinterpret_cast<const uint8_t*>(bytes.data());
  fail(Fault::kInput, name, ": neither JPEG nor PNG: it starts with the bytes ",
       to_hex({first, std::min<size_t>(bytes.size(), 8)}));
}

}  // namespace passnorm::train
