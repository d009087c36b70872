#include "tests/cli/bad_safetensors.hpp"

#include <gtest/gtest.h>

namespace passnorm::test {

Parts parts_of(const std::string& file) {
  uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  return {parse_json("file", std::string_view(file).substr(sizeof header, header)),
          file.substr(sizeof header + header)};
}

std::string file_of(const std::string& header, const std::string& data) {
  std::string file(sizeof(uint64_t), '\0');
  const uint64_t bytes = header.size();
  std::memcpy(file.data(), &bytes, sizeof bytes);
  return file + header + data;
}

std::string with_length(std::string file, uint64_t length) {
  std::memcpy(file.data(), &length, sizeof length);
  return file;
}

std::string edited(const std::string& file, const std::function<void(Parts&)>& edit) {
  Parts parts = parts_of(file);
  edit(parts);
  return file_of(parts.header.dump(), parts.data);
}

std::string edited_metadata(const std::string& file, const char* key, const char* value) {
  return edited(file, [&](Parts& p) { p.header["__metadata__"][key] = value; });
}

std::string without_metadata(const std::string& file, const char* key) {
  return edited(file, [&](Parts& p) { p.header["__metadata__"].erase(key); });
}

std::string renamed(const std::string& file, const std::string& from, const std::string& to) {
  return edited(file, [&](Parts& p) {
    Json header = Json::object();
    for (const auto& [key, value] : p.header.items()) header[key == from ? to : key] = value;
    p.header = header;
  });
}

std::string tensor_of(const std::string& file, std::string_view ending) {
  const Parts parts = parts_of(file);
  for (const auto& [name, entry] : parts.header.items())
    if (name.ends_with(ending) && entry.contains("dtype") && entry["dtype"] == "F32") return name;
  ADD_FAILURE() << "no tensor ends in " << ending;
  return {};
}

std::vector<Damage> damages(const std::string& good, const std::string& tensor) {
  const auto entry = [&](const std::function<void(Json&)>& edit) {
    return edited(good, [&](Parts& p) { edit(p.header[tensor]); });
  };
  const Parts parts = parts_of(good);
  const std::string header = parts.header.dump();
  const auto offsets = parts.header[tensor]["data_offsets"];
  const int64_t begin = offsets[0], end = offsets[1], all = std::ssize(parts.data);
  std::string again = header;
  again.insert(1, "\"" + tensor + "\":" + parts.header[tensor].dump() + ",");
  return {
      {"empty", "", "not a safetensors file: 0 bytes"},
      {"one byte", "x", "not a safetensors file: 1 bytes"},
      {"half of the length", good.substr(0, 4), "not a safetensors file: 4 bytes"},
      {"nothing behind the length", good.substr(0, 8), "cut off, or not a safetensors file"},
      {"cut off in the header", good.substr(0, 100), "cut off, or not a safetensors file"},
      {"cut off by a byte", good.substr(0, good.size() - 1), "is beyond the"},
      {"cut off by half", good.substr(0, good.size() / 2), "is beyond the"},
      {"longer than declared", good + "x", "1 bytes after the last tensor belong to none"},
      {"twice", good + good, "bytes after the last tensor belong to none"},
      {"length 0", with_length(good, 0), "a header of 0 bytes"},
      {"length 2^64 - 1", with_length(good, ~uint64_t{0}), "a header of 18446744073709551615"},
      {"length beyond the file", with_length(good, good.size()), "cut off, or not"},
      {"length one short", with_length(good, header.size() - 1), "not valid JSON"},
      {"no object", file_of("[1, 2]", parts.data), "the header does not begin with {"},
      {"no JSON", file_of("{\"a\": }", parts.data), "not valid JSON"},
      {"a zero byte", file_of("{\"a\": 1\0}" + std::string(3, '\0'), parts.data), "not valid JSON"},
      {"no UTF-8", file_of("{\"\xff\": 1}", parts.data), "not valid JSON"},
      {"nested deeply", file_of("{\"a\":" + std::string(99, '[') + std::string(99, ']') + "}", ""),
       "nested deeper than"},
      {"a tensor twice", file_of(again, parts.data), "stands twice"},
      {"metadata is a list", edited(good, [](Parts& p) { p.header["__metadata__"] = {1}; }),
       "__metadata__"},
      {"metadata holds a number", edited(good, [](Parts& p) { p.header["__metadata__"]["x"] = 1; }),
       "__metadata__"},
      {"a tensor is a number", edited(good, [&](Parts& p) { p.header[tensor] = 1; }),
       "expected an object"},
      {"no dtype", entry([](Json& e) { e.erase("dtype"); }), "dtype is missing"},
      {"no shape", entry([](Json& e) { e.erase("shape"); }), "shape is missing"},
      {"no offsets", entry([](Json& e) { e.erase("data_offsets"); }), "data_offsets is missing"},
      {"another field", entry([](Json& e) { e["x"] = 1; }), "unknown field"},
      {"an unknown dtype", entry([](Json& e) { e["dtype"] = "F8"; }), "unknown dtype"},
      {"dtype is a number", entry([](Json& e) { e["dtype"] = 32; }), "dtype: expected a string"},
      {"too wide a dtype", entry([](Json& e) { e["dtype"] = "F64"; }), "shape and dtype need"},
      {"too narrow a dtype", entry([](Json& e) { e["dtype"] = "F16"; }), "shape and dtype need"},
      {"another shape", entry([](Json& e) { e["shape"].push_back(2); }), "shape and dtype need"},
      {"a negative size", entry([](Json& e) {
         e["shape"] = {-1, -4};
       }),
       "expected integers from 0"},
      {"half an element", entry([](Json& e) { e["shape"] = {0.5}; }), "expected integers from 0"},
      {"an overflowing shape", entry([](Json& e) {
         e["shape"] = {int64_t{1} << 32, int64_t{1} << 31, 4};
       }),
       "2^63 bytes"},
      {"a size beyond 2^63", entry([](Json& e) { e["shape"] = {uint64_t{1} << 63}; }),
       "expected integers from 0"},
      {"offsets the wrong way round", entry([&](Json& e) {
         e["data_offsets"] = {end, begin};
       }),
       "is after end"},
      {"overlapping offsets",
       edited(good,
              [](Parts& p) {
                for (auto& [name, e] : p.header.items())
                  if (e.contains("data_offsets") && e["data_offsets"][0] > 4)
                    for (Json& at : e["data_offsets"]) at = at.get<int64_t>() - 1;
              }),
       "inside the tensor before it"},
      {"offsets beyond the end", entry([&](Json& e) {
         e["data_offsets"] = {all, all + end - begin};
       }),
       "is beyond the"},
      {"one offset", entry([&](Json& e) { e["data_offsets"] = {begin}; }), "expected [begin, end]"},
      {"an offset of 1e30", entry([&](Json& e) {
         e["data_offsets"] = {begin, 1e30};
       }),
       "expected integers from 0"},
  };
}

}  // namespace passnorm::test
