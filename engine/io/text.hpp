// Text for messages: foreign bytes made safe for one line, and the nearest known name.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace passnorm {

/// Bytes outside printable ASCII, quotes and backslashes as \xNN; cut after `limit` bytes of input,
/// then "...". For everything that comes out of a file: a message stays one line and cannot steer a
/// terminal.
std::string printable(std::string_view text, size_t limit = 80);

/// printable(text) in double quotes. (Not `quoted`: argument-dependent lookup would find
/// std::quoted, which escapes less.)
std::string quote(std::string_view text);

/// The known name with the smallest edit distance (characters changed, added, left out, or swapped
/// with their neighbour; - and _ count as equal), or an empty one when none is within a third of
/// the longer length.
std::string_view nearest(std::string_view name, std::span<const std::string_view> known);

}  // namespace passnorm
