// JSON in and out; objects keep the order of their keys.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace passnorm {

using Json = nlohmann::ordered_json;

/// The deepest nesting that is read.
inline constexpr int kMaxJsonDepth = 64;

/// The one JSON value of `text` (RFC 8259). Error(kInput), starting with `name`, on a syntax error,
/// invalid UTF-8, text after the value, a key twice in one object, or nesting beyond kMaxJsonDepth.
Json parse_json(std::string_view name, std::string_view text);

/// Reads and parses a file of at most 100 MB.
Json read_json(const std::string& path);

/// Text of a value, on one line or indented by `indent` spaces. NaN and infinity have no JSON and
/// become null. Error(kInput), starting with `name`, on a string that is not UTF-8.
std::string dump_json(std::string_view name, const Json& value, int indent = -1);

}  // namespace passnorm
