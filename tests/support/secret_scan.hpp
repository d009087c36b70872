// Finds secrets, or pieces of them, in the bytes of a file, however they are written there.
//
// A file is looked at as it is, and as what its text stands for: every run of hexadecimal digits
// and of base64 in every phase, and every list of decimal numbers. In each of these views pieces of
// the secrets are looked for at every place: 16 bytes of a byte string or a text; 4 numbers of a
// tensor as f32, f64 or decimals, 8 as f16 or bf16 (4 of so few digits are met by chance), of
// either byte order, forwards and backwards; 64 bits of a signature, packed or one by one.
#pragma once

#include <algorithm>
#include <bit>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kernels/runtime/dtype.hpp"

namespace passnorm::test {

/// The bytes of numbers, one after another.
template <class T>
std::string bytes_as(std::span<const float> values, bool big_endian = false) {
  std::string out;
  for (const float v : values) {
    const T element(v);
    char bytes[sizeof(T)];
    std::memcpy(bytes, &element, sizeof bytes);
    if (big_endian) std::reverse(bytes, bytes + sizeof bytes);
    out.append(bytes, sizeof bytes);
  }
  return out;
}

/// Eight bits a byte.
inline std::string packed(std::span<const int8_t> signs, bool lowest_first) {
  std::string out(signs.size() / 8, '\0');
  for (size_t i = 0; i < out.size() * 8; ++i)
    if (signs[i] > 0)
      out[i / 8] = static_cast<char>(out[i / 8] | 1 << (lowest_first ? i % 8 : 7 - i % 8));
  return out;
}

class SecretScan {
 public:
  static constexpr size_t kBytes = 16, kNumbers = 4, kBits = 64;

  /// Bytes or text of at least 8; pieces of kBytes where it is longer.
  void add_bytes(const std::string& what, std::string_view secret) {
    if (secret.size() < 8) throw std::invalid_argument(what + " is too short to be looked for");
    if (secret.size() < kBytes) {
      literals_.push_back({std::string(secret), label(what)});
      return;
    }
    std::string reversed(secret.rbegin(), secret.rend());
    for (const std::string_view order : {secret, std::string_view(reversed)})
      for (size_t at = 0; at + kBytes <= order.size(); ++at)
        add_piece(order.substr(at, kBytes), label(what));
  }

  /// One order of a tensor; other orders (file, memory, transposed) are added as well.
  void add_numbers(const std::string& what, std::span<const float> values) {
    std::vector<float> reversed(values.rbegin(), values.rend());
    for (const std::span<const float> order : {values, std::span<const float>(reversed)}) {
      lists_.push_back({{order.begin(), order.end()}, label(what)});
      for (size_t at = 0; at + kNumbers <= order.size(); ++at) {
        const auto piece = order.subspan(at, kNumbers);
        const auto longer = order.subspan(at, std::min(2 * kNumbers, order.size() - at));
        // Zeros, ones and the like are no secret, and everywhere.
        bool distinct = true;
        for (size_t i = 0; i < kNumbers; ++i)
          for (size_t k = 0; k < i; ++k) distinct &= piece[i] != piece[k];
        if (!distinct) continue;
        for (const bool big : {false, true}) {
          add_piece(bytes_as<float>(piece, big), label(what));
          add_piece(bytes_as<double>(piece, big), label(what));
          if (longer.size() < 2 * kNumbers) continue;
          add_piece(bytes_as<float16>(longer, big), label(what));
          add_piece(bytes_as<bfloat16>(longer, big), label(what));
        }
      }
    }
  }

  /// At least kBits of -1 and +1.
  void add_bits(const std::string& what, std::span<const int8_t> bits) {
    std::vector<int8_t> order(bits.begin(), bits.end());
    for (int turn = 0; turn < 2; ++turn, std::ranges::reverse(order))
      for (size_t at = 0; at + kBits <= order.size(); ++at) {
        std::vector<int8_t> piece(order.begin() + static_cast<int64_t>(at),
                                  order.begin() + static_cast<int64_t>(at + kBits));
        for (int sign = 0; sign < 2; ++sign) {  // also with 0 and 1 exchanged
          add_piece(packed(piece, true), label(what));
          add_piece(packed(piece, false), label(what));
          for (int8_t& bit : piece) bit = static_cast<int8_t>(-bit);
        }
      }
  }

  /// The names of the secrets of which a piece is in the file.
  std::set<std::string> find(std::string_view file) const {
    std::set<std::string> found;
    scan(file, found);
    std::string text;  // without the ends of lines, which break long runs
    for (const char c : file)
      if (c != '\n' && c != '\r') text += c;
    for_each_run(
        text, 2 * 8, [](unsigned char c) { return std::isxdigit(c) != 0; },
        [&](std::string_view run) {
          for (const size_t phase : {0, 1}) scan(from_hex(run.substr(phase)), found);
        });
    for_each_run(
        text, 11, [](unsigned char c) { return base64_digit(c) >= 0; },
        [&](std::string_view run) {
          for (const size_t phase : {0, 1, 2, 3}) scan(from_base64(run.substr(phase)), found);
        });
    scan_decimals(file, found);
    return found;
  }

 private:
  struct Literal {
    std::string bytes;
    uint32_t label;
  };
  struct List {
    std::vector<float> values;
    uint32_t label;
  };
  struct Number {
    double value, tolerance;
    bool precise;  ///< three digits and more behind the point, or an exponent
    size_t begin, end;
  };
  static constexpr size_t kLengths[] = {8, 16, 32};
  static constexpr size_t kFilterBits = size_t{1} << 25;

  uint32_t label(const std::string& what) {
    if (labels_.empty() || labels_.back() != what) labels_.push_back(what);
    return static_cast<uint32_t>(labels_.size() - 1);
  }

  static uint64_t hash_of(const char* piece, size_t length) {
    uint64_t h = length;
    for (size_t at = 0; at < length; at += 8) {
      uint64_t word;
      std::memcpy(&word, piece + at, 8);
      h = (h ^ word) * 0x9e3779b97f4a7c15;
      h ^= h >> 31;
    }
    return h * 0x94d049bb133111eb;
  }
  void add_piece(std::string_view piece, uint32_t label) {
    const uint64_t hash = hash_of(piece.data(), piece.size());
    pieces_.emplace(hash, label);
    filter_[hash >> 39] = true;
  }

  /// Pieces and literals anywhere in the bytes, and bits one by one.
  void scan(std::string_view bytes, std::set<std::string>& found) const {
    for (const size_t length : kLengths)
      for (size_t at = 0; at + length <= bytes.size(); ++at) {
        const uint64_t hash = hash_of(bytes.data() + at, length);
        if (!filter_[hash >> 39]) continue;
        if (const auto piece = pieces_.find(hash); piece != pieces_.end())
          found.insert(labels_[piece->second]);
      }
    for (const Literal& l : literals_)
      if (bytes.find(l.bytes) != std::string_view::npos) found.insert(labels_[l.label]);
    // A bit in 1, 2, 4 or 8 bytes: 0 and 1, -1 and 1 as integers, their numbers, their digits.
    for (const size_t width : {1, 2, 4, 8})
      for (size_t phase = 0; phase < width; ++phase) {
        std::vector<int8_t> bits;
        for (size_t at = phase; at + width <= bytes.size(); at += width) {
          const int bit = bit_of(bytes.substr(at, width));
          if (bit == 0) {
            scan_bits(bits, found);
            bits.clear();
          } else {
            bits.push_back(static_cast<int8_t>(bit));
          }
        }
        scan_bits(bits, found);
      }
  }

  /// -1 or 1 for an element that stands for one, else 0. Little-endian.
  static int bit_of(std::string_view element) {
    uint64_t word = 0;
    std::memcpy(&word, element.data(), element.size());
    const size_t width = element.size();
    const uint64_t minus = ~uint64_t{0} >> (64 - 8 * width);
    if (width == 1 && (word == '+' || word == '1')) return 1;
    if (width == 1 && (word == '-' || word == '0')) return -1;
    if (word == 0 || word == minus) return -1;
    if (word == 1) return 1;
    const uint64_t one = width == 8   ? std::bit_cast<uint64_t>(1.0)
                         : width == 4 ? std::bit_cast<uint32_t>(1.0f)
                                      : float16(1).bits;
    const uint64_t sign = uint64_t{1} << (8 * width - 1);
    if (width > 1 && (word & ~sign) == one) return word == one ? 1 : -1;
    if (width == 2 && (word & ~sign) == bfloat16(1).bits) return word & sign ? -1 : 1;
    return 0;
  }
  void scan_bits(const std::vector<int8_t>& bits, std::set<std::string>& found) const {
    for (size_t at = 0; at + kBits <= bits.size(); ++at) {
      const std::string piece = packed(std::span(bits).subspan(at, kBits), true);
      const auto known = pieces_.find(hash_of(piece.data(), piece.size()));
      if (known != pieces_.end()) found.insert(labels_[known->second]);
    }
  }

  /// f(every longest run of at least `least` characters that belong).
  template <class Belongs, class F>
  static void for_each_run(std::string_view text, size_t least, Belongs&& belongs, F&& f) {
    for (size_t at = 0; at < text.size(); ++at) {
      const size_t begin = at;
      while (at < text.size() && belongs(static_cast<unsigned char>(text[at]))) ++at;
      if (at - begin >= least) f(text.substr(begin, at - begin));
    }
  }
  static std::string from_hex(std::string_view digits) {
    const auto value = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
    std::string out;
    for (size_t at = 0; at + 2 <= digits.size(); at += 2)
      out += static_cast<char>(value(digits[at]) << 4 | value(digits[at + 1]));
    return out;
  }
  /// Of the standard alphabet and the one for addresses.
  static int base64_digit(unsigned char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
  }
  static std::string from_base64(std::string_view digits) {
    std::string out;
    for (size_t at = 0; at + 4 <= digits.size(); at += 4) {
      uint32_t word = 0;
      for (size_t k = 0; k < 4; ++k)
        word = word << 6 |
               static_cast<uint32_t>(base64_digit(static_cast<unsigned char>(digits[at + k])));
      out += {static_cast<char>(word >> 16), static_cast<char>(word >> 8), static_cast<char>(word)};
    }
    return out;
  }

  /// Numbers with at most three other characters between them: as tensors, as bytes, as bits.
  void scan_decimals(std::string_view text, std::set<std::string>& found) const {
    std::vector<Number> list;
    const auto end_list = [&] {
      scan_list(list, found);
      list.clear();
    };
    for (size_t at = 0; at < text.size();) {
      Number n{};
      const auto [end, error] =
          std::from_chars(text.data() + at, text.data() + text.size(), n.value);
      const auto first = static_cast<unsigned char>(text[at]);
      if (error != std::errc() || !(std::isdigit(first) || first == '-')) {
        ++at;
        continue;
      }
      n.begin = at;
      n.end = static_cast<size_t>(end - text.data());
      const std::string_view written = text.substr(at, n.end - at);
      const size_t mantissa = std::min(written.find_first_of("eE"), written.size());
      const size_t point = std::min(written.find('.'), mantissa);
      const auto digits = static_cast<int>(mantissa - std::min(mantissa, point + 1));
      int exponent = 0;
      if (mantissa < written.size())
        exponent = std::atoi(std::string(written.substr(mantissa + 1)).c_str());
      n.precise = digits >= 3;
      n.tolerance = 0.51 * std::pow(10.0, exponent - digits);
      if (!list.empty() && n.begin - list.back().end > 3) end_list();
      list.push_back(n);
      at = n.end;
    }
    end_list();
  }

  void scan_list(const std::vector<Number>& list, std::set<std::string>& found) const {
    if (list.size() < kNumbers) return;
    std::string bytes;
    for (const Number& n : list) {
      const bool byte = n.value == std::floor(n.value) && n.value >= -128 && n.value <= 255;
      bytes += byte ? static_cast<char>(static_cast<int>(n.value)) : '\x80';
    }
    scan(bytes, found);
    for (size_t at = 0; at + kNumbers <= list.size(); ++at) {
      const auto piece = std::span(list).subspan(at, kNumbers);
      if (!std::ranges::all_of(piece, &Number::precise)) continue;
      for (const List& secret : lists_)
        for (size_t i = 0; i + kNumbers <= secret.values.size(); ++i) {
          size_t k = 0;
          while (k < kNumbers && std::abs(piece[k].value - double{secret.values[i + k]}) <=
                                     piece[k].tolerance + 1e-7 * std::abs(piece[k].value))
            ++k;
          if (k == kNumbers) found.insert(labels_[secret.label]);
        }
    }
  }

  std::vector<std::string> labels_;
  std::unordered_map<uint64_t, uint32_t> pieces_;
  std::vector<bool> filter_ = std::vector<bool>(kFilterBits);
  std::vector<Literal> literals_;
  std::vector<List> lists_;
};

}  // namespace passnorm::test
