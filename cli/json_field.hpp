// A value of a JSON document that came from a file, and where it stands: what is read of it is
// checked, and refused with its place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/json.hpp"

namespace passnorm::cli {

/// All functions throw Error(kInput), one line "FILE: points[3].owner: ...", when the value is not
/// what is asked for. The document must live as long.
class JsonField {
 public:
  JsonField(const Json& document, std::string file) : value_(&document), file_(std::move(file)) {}

  JsonField operator[](const char* key) const;
  /// None where the key is missing or its value is null.
  std::optional<JsonField> maybe(const char* key) const;
  std::vector<JsonField> elements(size_t most) const;                         ///< of an array
  std::vector<std::pair<std::string, JsonField>> members(size_t most) const;  ///< of an object

  std::string text() const;
  bool flag() const;
  int64_t integer(int64_t least, int64_t most) const;
  double number(double least, double most) const;
  bool is_null() const { return value_->is_null(); }

  [[noreturn]] void refuse(const std::string& why) const;

 private:
  JsonField(const Json& value, const JsonField& parent, const std::string& step);

  const Json* value_;
  std::string file_;
  std::string place_;  ///< empty for the whole document
};

}  // namespace passnorm::cli
