#include "train/data/npy.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "engine/io/file.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::train {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeader = 4096;
constexpr int64_t kMaxColumns = 1024;

/// The header: a literal of Python, {'descr': '<f4', 'fortran_order': False, 'shape': (1024, 3), }.
struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<int64_t> shape;
};

class HeaderParser {
 public:
  HeaderParser(std::string_view name, std::string_view text) : name_(name), rest_(text) {}

  Header parse() {
    std::optional<std::string> descr;
    std::optional<bool> fortran_order;
    std::optional<std::vector<int64_t>> shape;
    expect('{');
    while (!take('}')) {
      const std::string key = text();
      expect(':');
      if (key == "descr" && !descr)
        descr = text();
      else if (key == "fortran_order" && !fortran_order)
        fortran_order = boolean();
      else if (key == "shape" && !shape)
        shape = tuple();
      else
        refuse();
      if (take('}')) break;
      expect(',');
    }
    skip();
    if (!rest_.empty() || !descr || !fortran_order || !shape) refuse();
    return {*descr, *fortran_order, *shape};
  }

 private:
  [[noreturn]] void refuse() const {
    fail(Fault::kInput, name_,
         ": its header is not numpy's: expected {'descr': .., 'fortran_order': .., 'shape': ..}, "
         "stopped at ",
         quote(rest_.substr(0, 24)));
  }
  void skip() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n"), rest_.size())); }
  bool take(char c) {
    skip();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) refuse();
  }
  std::string text() {
    skip();
    const char mark = rest_.empty() ? '\0' : rest_[0];
    const size_t end = mark == '\'' || mark == '"' ? rest_.find(mark, 1) : std::string_view::npos;
    if (end == std::string_view::npos) refuse();
    std::string out(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return out;
  }
  bool boolean() {
    skip();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      return value;
    }
    refuse();
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> out;
    expect('(');
    while (!take(')')) {
      skip();
      int64_t value = -1;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
      if (error != std::errc() || value < 0) refuse();
      rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
      out.push_back(value);
      if (take(')')) break;
      expect(',');
    }
    return out;
  }

  std::string_view name_, rest_;
};

/// The bytes behind the header, and the header.
std::pair<Header, std::span<const std::byte>> open(std::string_view name,
                                                   std::span<const std::byte> bytes) {
  const std::string_view text = text_of(bytes);
  if (!text.starts_with(kMagic) || bytes.size() < kMagic.size() + 4)
    fail(Fault::kInput, name, ": not an .npy file: ", bytes.size(), " bytes that begin with ",
         quote(text.substr(0, kMagic.size())));
  const auto byte = [&](size_t i) { return std::to_integer<size_t>(bytes[i]); };
  const size_t major = byte(6);
  if (major < 1 || major > 3)
    fail(Fault::kInput, name, ": .npy version ", major, ".", byte(7), ", expected 1, 2 or 3");
  const size_t from = major == 1 ? 10 : 12;
  size_t length = byte(8) | byte(9) << 8;
  if (major > 1 && bytes.size() >= from) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kMaxHeader)
    fail(Fault::kInput, name, ": a header of ", length, " bytes, expected at most ", kMaxHeader);
  if (bytes.size() < from + length) fail(Fault::kInput, name, ": cut off in its header");
  return {HeaderParser(name, text.substr(from, length)).parse(), bytes.subspan(from + length)};
}

template <class T>
std::vector<float> columns(std::string_view name, std::span<const std::byte> data, int64_t points,
                           int64_t stride) {
  std::vector<float> out(static_cast<size_t>(3 * points));
  for (int64_t row = 0; row < points; ++row)
    for (int64_t c = 0; c < 3; ++c) {
      T value;
      std::memcpy(&value, data.data() + static_cast<size_t>(row * stride + c) * sizeof value,
                  sizeof value);
      if (!(std::abs(value) <= static_cast<T>(std::numeric_limits<float>::max())))
        fail(Fault::kInput, name, ": point ", row, ": ", "xyz"[c], " is ", value,
             ", expected a finite number in the range of f32");
      out[static_cast<size_t>(3 * row + c)] = static_cast<float>(value);
    }
  return out;
}

}  // namespace

std::vector<float> decode_npy_cloud(std::string_view name, std::span<const std::byte> bytes,
                                    int64_t points) {
  const auto [header, data] = open(name, bytes);
  if (header.descr != "<f4" && header.descr != "<f8")
    fail(Fault::kInput, name, ": numbers of type ", quote(header.descr),
         ", expected \"<f4\" or \"<f8\"");
  if (header.fortran_order)
    fail(Fault::kInput, name, ": is in Fortran order, expected C order (numpy.ascontiguousarray)");
  const auto& shape = header.shape;
  const int64_t least = std::max<int64_t>(points, 1);
  if (shape.size() != 2 || shape[0] < least || shape[0] > kMaxPoints || shape[1] < 3 ||
      shape[1] > kMaxColumns) {
    std::string found;
    for (const int64_t n : shape) found += concat(found.empty() ? "" : ", ", n);
    fail(Fault::kInput, name, ": shape (", printable(found), "), expected (P, C) with ", least,
         " to ", kMaxPoints, " points P of 3 to ", kMaxColumns, " columns C");
  }
  const size_t size = header.descr == "<f4" ? sizeof(float) : sizeof(double);
  const size_t expected = static_cast<size_t>(shape[0] * shape[1]) * size;
  if (data.size() != expected)
    fail(Fault::kInput, name, ": has ", data.size(), " bytes behind its header, its shape needs ",
         expected);
  if (points == 0) points = shape[0];
  return size == sizeof(float) ? columns<float>(name, data, points, shape[1])
                               : columns<double>(name, data, points, shape[1]);
}

std::vector<std::byte> encode_npy_cloud(std::span<const float> cloud) {
  PASSNORM_CHECK(cloud.size() % 3 == 0, cloud.size(), " coordinates");
  std::string header =
      concat("{'descr': '<f4', 'fortran_order': False, 'shape': (", cloud.size() / 3, ", 3), }");
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  header += '\n';
  std::string file(kMagic);
  file += {'\1', '\0', static_cast<char>(header.size()), static_cast<char>(header.size() >> 8)};
  file += header;
  std::vector<std::byte> out(file.size() + cloud.size_bytes());
  std::memcpy(out.data(), file.data(), file.size());
  std::memcpy(out.data() + file.size(), cloud.data(), cloud.size_bytes());
  return out;
}

}  // namespace passnorm::train
