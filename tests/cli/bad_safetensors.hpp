// Safetensors files that are changed by hand, and every way in which one can be broken.
#pragma once

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "engine/io/json.hpp"

namespace passnorm::test {

/// A safetensors file in its two parts.
struct Parts {
  Json header;
  std::string data;
};

Parts parts_of(const std::string& file);
std::string file_of(const std::string& header, const std::string& data);
/// The first eight bytes, the length of the header, replaced.
std::string with_length(std::string file, uint64_t length);
std::string edited(const std::string& file, const std::function<void(Parts&)>& edit);
std::string edited_metadata(const std::string& file, const char* key, const char* value);
std::string without_metadata(const std::string& file, const char* key);
std::string renamed(const std::string& file, const std::string& from, const std::string& to);

/// The name of the first f32 tensor whose name ends so.
std::string tensor_of(const std::string& file, std::string_view ending);

/// The same file with another first value of a tensor.
template <class T>
std::string with_value(const std::string& file, const std::string& tensor, T value) {
  return edited(file, [&](Parts& p) {
    const int64_t at = p.header[tensor]["data_offsets"][0];
    std::memcpy(p.data.data() + at, &value, sizeof value);
  });
}

struct Damage {
  const char* what;
  std::string file;
  const char* reason;
};

/// What goes wrong with a safetensors file of any kind. `tensor` is one of f32.
std::vector<Damage> damages(const std::string& good, const std::string& tensor);

}  // namespace passnorm::test
