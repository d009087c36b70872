// Writes those seeds of the corpus that cannot be typed: make_corpus FOLDER. To be run again when a
// format has changed; the other seeds are text, or were found by libFuzzer.
#include <cmath>

#include "engine/io/file.hpp"
#include "engine/io/seal.hpp"
#include "engine/passport/passport.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/support/images.hpp"
#include "train/checkpoint.hpp"
#include "train/data/npy.hpp"

namespace passnorm::fuzz {
namespace {

template <class Bytes>
std::string text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The other form of a safetensors file that safetensors_of takes.
std::string loose(const std::string& file) {
  uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  std::string out = file.substr(sizeof header, header);
  out.erase(out.find_last_not_of(' ') + 1);
  return out + '\0' + file.substr(sizeof header + header);
}

std::string safetensors() {
  const std::vector<float> f32 = {0, 1.5f, -2, INFINITY, NAN, 1e-40f};
  const std::vector<double> f64 = {1e300};
  const std::vector<bfloat16> bf16(3);
  const std::vector<float16> f16(2);
  const std::vector<uint8_t> u8 = {1, 2, 3};
  const std::vector<int64_t> i64 = {-1};
  const TensorEntry entries[] = {{"a", {2, 3}, std::span(f32)},
                                 {"b", {}, std::span(f64)},
                                 {"c", {3, 1}, std::span(bf16)},
                                 {"d", {2}, std::span(f16)},
                                 {"e", {3}, std::span(u8)},
                                 {"f", {1}, std::span(i64)},
                                 {"g", {0, 7}, {nullptr, DType::kI32, 0}}};
  return text(safetensors_bytes(entries, {{"k", "v"}, {"", "\xc3\xa4\n"}}));
}

std::string passport(Passport::Source source) {
  std::vector<Site> sites(2);
  for (size_t i = 0; i < 2; ++i) {
    sites[i].name = "conv" + std::to_string(i);
    sites[i].geometry = {.h = 2, .w = 3, .c = 2, .o = 8, .kh = 3, .kw = 3, .stride = 1, .pad = 1};
  }
  const std::vector<uint8_t> seed(32, 7);
  Passport p = Passport::random(sites, Secret32(std::span<const uint8_t, 32>(seed.data(), 32)),
                                Signature::from_text("(c) fuzz"));
  if (source != Passport::Source::kRandom)
    p = Passport::from_keys(p.sites(), source, Signature::from_text("(c) fuzz"));
  p.scheme = &scheme("pan");
  p.lane_state = {{"conv0.gate", {2, 1}, {0.5f, -1}}};
  return text(p.bytes());
}

std::string checkpoint() {
  return text(
      train::checkpoint_bytes({.position = {3, 20},
                               .run = {{"seed", "1"}},
                               .arenas = {{"weights", {1, 2, 3}}, {"momentum", {0, NAN, 1}}},
                               .numbers = {1, 0.5}}));
}

void write(const std::string& path, const std::string& content) {
  write_file_atomic(path, bytes_of(content));
}

void write_all(const std::string& folder) {
  const SecretText passphrase("fuzz");
  for (const auto& [name, file] : {std::pair{"safetensors/all", safetensors()},
                                   {"passport/random", passport(Passport::Source::kRandom)},
                                   {"passport/image", passport(Passport::Source::kImage)},
                                   {"checkpoint/epoch", checkpoint()}}) {
    write(folder + '/' + name, file);
    write(folder + '/' + name + ".loose", loose(file));
  }
  write(folder + "/seal/empty", text(seal({}, passphrase, kLeastSealCost)));
  write(folder + "/seal/text", text(seal(bytes_of("plain"), passphrase, kLeastSealCost)));
  const float cloud[] = {0, 0.5f, -1, 1, 0.25f, 0.125f, -0.5f, 0.75f, 2, 1.5f, -2, 0};
  write(folder + "/npy/f32", text(train::encode_npy_cloud(cloud)));
  const train::Picture picture = test::pattern({6, 9});
  const std::string palette = test::png_chunk("PLTE", "\x01\x02\x03\x0a\x0b\x0c\x64\x65\x66");
  write(folder + "/image/rgb.png", test::png_file(picture));
  write(folder + "/image/palette.png",
        test::png_file(test::png_header({1, 2}, 2, 3), std::string("\0\x60", 2), palette));
  write(folder + "/image/alpha16.png",
        test::png_file(test::png_header({1, 1}, 16, 6), std::string(9, '\0')));
  write(folder + "/image/interlaced.png",
        test::png_file(test::png_header({2, 2}, 8, 0, 1), std::string("\0\1\0\2\0\3\4", 7)));
  write(folder + "/image/rgb.jpg", test::jpeg_file(picture, {.quality = 60}));
  write(folder + "/image/420.jpg",
        test::jpeg_file(picture, {.quality = 60, .subsampling = TJSAMP_420}));
  write(folder + "/image/progressive.jpg",
        test::jpeg_file(picture, {.quality = 60, .flags = TJFLAG_PROGRESSIVE}));
  const std::vector<uint8_t> pixels(4 * 8 * 8, 90);
  write(folder + "/image/grey.jpg",
        test::jpeg_file({8, 8}, pixels.data(), TJPF_GRAY, {.subsampling = TJSAMP_GRAY}));
  write(folder + "/image/cmyk.jpg", test::jpeg_file({8, 8}, pixels.data(), TJPF_CMYK));
}

}  // namespace
}  // namespace passnorm::fuzz

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  passnorm::fuzz::write_all(argv[1]);
  return 0;
}
