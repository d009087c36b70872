// What fuzz targets share. A target is one file that defines fuzz::run: it feeds an input to a
// parser and ends the process when something that must hold does not. What must hold: an input is
// either refused by an Error of an expected kind with one short line, or accepted; what is accepted
// can be written and read again, and is the same then.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/runtime/check.hpp"

namespace passnorm::fuzz {

/// One input. Defined by the target.
void run(std::span<const std::byte> input);

/// How many inputs went beyond being refused.
inline int64_t accepted = 0;

inline void require(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: does not hold: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

/// Calls f; false when it threw an Error that a user may see for this input.
template <class F>
bool accepts(std::initializer_list<Fault> expected, F&& f) {
  try {
    f();
    ++accepted;
    return true;
  } catch (const Error& error) {
    const std::string_view text = error.what();
    const bool line = std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
    if (std::ranges::find(expected, error.fault()) == expected.end() || !line || text.empty() ||
        text.size() >= 2048)
      std::fprintf(stderr, "fuzz: fault %d: \"%s\"\n", static_cast<int>(error.fault()),
                   error.what());
    require(std::ranges::find(expected, error.fault()) != expected.end(), "the kind of the error");
    require(line && !text.empty() && text.size() < 2048, "the error is one short line");
    return false;
  }
}

/// A safetensors file. Random changes of one would nearly always end at the length of its header:
/// an input that begins with { is a header, and behind its first zero byte the data.
inline std::vector<std::byte> safetensors_of(std::span<const std::byte> input) {
  if (input.empty() || input[0] != std::byte{'{'}) return {input.begin(), input.end()};
  const auto zero = std::ranges::find(input, std::byte{0});
  const auto header = static_cast<uint64_t>(zero - input.begin());
  std::vector<std::byte> file(sizeof header + input.size());
  std::memcpy(file.data(), &header, sizeof header);
  auto end = std::copy(input.begin(), zero, file.begin() + sizeof header);
  if (zero != input.end()) end = std::copy(zero + 1, input.end(), end);
  file.erase(end, file.end());
  return file;
}

}  // namespace passnorm::fuzz
