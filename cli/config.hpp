// TOML files of settings: config.toml, which every run writes, and those given with --config.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace passnorm::cli {

/// One `key = value` of a file.
struct Assignment {
  enum class Type { kText, kInteger, kNumber, kBoolean, kOther };
  std::string key;  ///< as an option is named: kebab-case
  Type type = Type::kOther;
  std::string text;    ///< the value as the command line would have it
  std::string found;   ///< for messages: the text "fast", the integer 5, an array, ..
  std::string key_at;  ///< FILE:line:column
  std::string at;      ///< the same of the value
};

/// The longest file that is read, in bytes.
inline constexpr size_t kMaxConfig = 1 << 16;

/// The settings in TOML text, in the order of their lines. Depends on its arguments only; `name`
/// stands for the file in messages. Error(kUsage), one line that starts with NAME:line:column, on a
/// syntax error, text that is not UTF-8, too long or too deep, or a key that stands twice (also
/// once with - and once with _). What a key means is not looked at, nor whether its value is a
/// plain one: an array or a table has type kOther.
std::vector<Assignment> parse_config(std::string_view name, std::string_view text);

/// Reads and parses a file. Error(kInput) when it cannot be read.
std::vector<Assignment> read_config(const std::string& path);

/// A TOML string.
std::string toml_string(std::string_view text);

}  // namespace passnorm::cli
