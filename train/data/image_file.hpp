// Pictures: JPEG and PNG files to RGB bytes, resized and cropped as torchvision does with pictures
// of PIL, so that networks see the pixels that the references saw.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace passnorm::train {

struct ImageSize {
  int64_t h = 0, w = 0;
  bool operator==(const ImageSize&) const = default;
};

struct Picture {
  ImageSize size;
  std::vector<uint8_t> rgb;  ///< [h, w, 3]
  bool operator==(const Picture&) const = default;
};

/// What a file may hold; a larger one is refused before memory is taken for it.
struct ImageLimits {
  int64_t side = 16384;               ///< pixels of a side
  int64_t pixels = int64_t{1} << 26;  ///< of the picture
};

/// What a file may take.
inline constexpr uint64_t kMaxPictureBytes = uint64_t{64} << 20;

/// The picture in the bytes of a JPEG or PNG file, told apart by their first bytes. As PIL's
/// convert("RGB"): grey and palette become RGB, transparency is dropped, of 16 bits the upper 8
/// stay, colour profiles and orientation tags are not applied. Error(kInput), one line that starts
/// with `name`: neither format, a picture beyond the limits, four-colour (CMYK) JPEG, a file that
/// is damaged or cut off, bytes after the end of a PNG (after a JPEG cameras leave previews).
Picture decode_image(std::string_view name, std::span<const std::byte> bytes,
                     const ImageLimits& limits = {});

/// The bytes of a PNG file, RGB with 8 bits a value, that decode_image gives back as they were. The
/// same picture and libpng give the same bytes.
std::vector<std::byte> encode_png(const Picture& picture);

/// torchvision.transforms.Resize(side): the shorter side becomes `side`, the longer one
/// floor(side * longer / shorter). Bilinear with antialias: the weight of a pixel falls linearly
/// with its distance to the centre of the output pixel and is zero one output pixel (at least one
/// input pixel) away; columns first, each pass rounded to bytes, to the byte what PIL gives.
Picture resize_shorter_side(const Picture& picture, int64_t side);

/// torchvision.transforms.CenterCrop(size): what is smaller is padded with zeros, half of them
/// (rounded down) before the picture; of what is larger the middle stays, from round(excess / 2)
/// with halves to the even.
Picture center_crop(const Picture& picture, ImageSize size);

/// Its colour planes [3, h, w], behind what `images` holds: how a Dataset keeps pictures.
void append_planes(const Picture& picture, std::vector<uint8_t>& images);

}  // namespace passnorm::train
