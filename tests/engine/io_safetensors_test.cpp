#include <cmath>
#include <cstring>
#include <limits>

#include "engine/io/safetensors.hpp"
#include "tests/support/files.hpp"

namespace passnorm::test {
namespace {

std::vector<std::byte> to_vector(std::string_view text) {
  const auto bytes = bytes_of(text);
  return {bytes.begin(), bytes.end()};
}

/// A file of this header text and this many zero bytes of data.
std::string file_of(std::string_view header, size_t data_bytes) {
  const uint64_t size = header.size();
  std::string file(reinterpret_cast<const char*>(&size), sizeof size);
  return file.append(header).append(data_bytes, '\0');
}

TEST(SafeTensors, WritesTheseBytes) {
  const std::vector<float> a = {1, -2};
  const std::vector<int64_t> b = {3};
  const std::vector<TensorEntry> entries = {{"b", {}, std::span(b)}, {"a", {2, 1}, std::span(a)}};
  const std::string header =
      R"({"__metadata__":{"k":"v","z":""},)"
      R"("b":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  std::string expected = file_of(padded, 16);
  std::memcpy(expected.data() + 8 + padded.size(), b.data(), 8);
  std::memcpy(expected.data() + 16 + padded.size(), a.data(), 8);
  EXPECT_EQ(text_of(safetensors_bytes(entries, {{"z", ""}, {"k", "v"}})), expected);
  EXPECT_EQ(text_of(safetensors_bytes({})), file_of("{}      ", 0));
}

TEST(SafeTensors, ReadsBackEveryTypeAndShape) {
  const TemporaryFolder folder;
  const std::vector<float> f32 = {1, 2, 3, 4, 5, 6};
  const std::vector<float16> f16 = {float16(0.5f)};
  const std::vector<bfloat16> bf16 = {bfloat16(-1.5f), bfloat16(3.f)};
  const std::vector<double> f64 = {0.1, 1e300};
  const std::vector<uint8_t> u8 = {0, 255, 7};
  const std::vector<int8_t> i8 = {-128};
  const std::vector<int32_t> i32 = {-5};
  const std::vector<int64_t> i64 = {1, std::numeric_limits<int64_t>::min()};
  const std::vector<TensorEntry> entries = {
      {"f32", {1, 2, 1, 3, 1}, std::span(f32)},
      {"f16", {}, std::span(f16)},
      {"bf16", {2}, std::span(bf16)},
      {"u8", {3}, std::span(u8)},
      {"f64", {2}, std::span(f64)},
      {"i8", {1}, std::span(i8)},
      {"i32", {1}, std::span(i32)},
      {"i64", {2}, std::span(i64)},
      {"empty", {3, 0, 2}, std::span(f32).first(0)},
  };
  write_safetensors(folder.path("m.safetensors"), entries, {{"format", "pt"}});

  const SafeTensors file = SafeTensors::open(folder.path("m.safetensors"));
  EXPECT_EQ(file.name(), folder.path("m.safetensors"));
  EXPECT_EQ(file.metadata(), (Metadata{{"format", "pt"}}));
  ASSERT_EQ(file.tensors().size(), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    const TensorInfo& t = file.tensors()[i];
    EXPECT_EQ(t.name, entries[i].name);
    EXPECT_EQ(t.dtype, entries[i].data.dtype) << t.name;
    EXPECT_EQ(t.shape, entries[i].shape) << t.name;
    ASSERT_EQ(t.size(), entries[i].data.size) << t.name;
    EXPECT_EQ(std::memcmp(t.data.data(), entries[i].data.data, t.data.size()), 0) << t.name;
    EXPECT_EQ(file.find(t.name), &t);
  }
  EXPECT_EQ(file.find("f3"), nullptr);
  EXPECT_EQ(to_f32(*file.find("f32")), f32);
  EXPECT_EQ(to_f32(*file.find("f16")), std::vector<float>{0.5f});
  EXPECT_EQ(to_f32(*file.find("bf16")), (std::vector<float>{-1.5f, 3.f}));
  EXPECT_EQ(to_f32(*file.find("f64")),
            (std::vector<float>{0.1f, INFINITY}));  // unaligned in this file
  refusal(Fault::kBug, [&] { to_f32(*file.find("u8")); });
}

TEST(SafeTensors, SurvivesMoving) {
  const std::vector<float> a = {1};
  SafeTensors first = SafeTensors::parse(
      "t", safetensors_bytes(std::vector<TensorEntry>{{"a", {1}, std::span(a)}}));
  const SafeTensors second = std::move(first);
  ASSERT_NE(second.find("a"), nullptr);
  EXPECT_EQ(to_f32(*second.find("a")), a);
}

TEST(SafeTensors, AcceptsWhatTheFormatAllows) {
  const struct {
    const char* header;
    size_t data_bytes;
  } cases[] = {
      {"{}", 0},
      {"{}   ", 0},
      {R"({"__metadata__":{}})", 0},
      {R"({"a":{"data_offsets":[4,8],"shape":[1],"dtype":"F32"},"b":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}})",
       8},
      {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"F64","shape":[],"data_offsets":[3,11]}})",
       11},
      {R"({"e":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       4},
      {R"({"a":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]}})", 0},
      {"{\"\\u00fc\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1},
  };
  for (const auto& c : cases)
    EXPECT_NO_THROW(SafeTensors::parse("t", to_vector(file_of(c.header, c.data_bytes))))
        << c.header;
}

/// {"<name>": {"dtype": .., "shape": .., "data_offsets": ..}}
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets,
                std::string_view name = "w") {
  return concat("{\"", name, "\":{\"dtype\":", dtype, ",\"shape\":", shape,
                ",\"data_offsets\":", offsets, "}}");
}
std::string two(std::string_view offsets_a, std::string_view offsets_b) {
  const std::string a = one("\"F32\"", "[1]", offsets_a, "a"),
                    b = one("\"F32\"", "[1]", offsets_b, "b");
  return a.substr(0, a.size() - 1) + ',' + b.substr(1);
}
std::string length(uint64_t n) { return {reinterpret_cast<const char*>(&n), sizeof n}; }

TEST(SafeTensors, RefusesEveryMalformedFile) {
  const std::string f32 = "\"F32\"";
  const struct {
    std::string file;
    const char* reason;
  } cases[] = {
      // the length of the header
      {"", "0 bytes, expected at least 8"},
      {"1234567", "7 bytes, expected at least 8"},
      {length(0), "a header of 0 bytes"},
      {length(0) + "{}", "a header of 0 bytes"},
      {length(100'000'001) + "{}", "a header of 100000001 bytes"},
      {length(~uint64_t{0}) + "{}", "a header of 18446744073709551615 bytes"},
      {length(3) + "{}", "a header of 3 bytes in a file of 10"},
      {length(2), "cut off, or not"},
      {"PK\x03\x04" + std::string(100, '\0'),
       "not a safetensors file"},  // a zip archive: an old .pth
      // the header as JSON
      {file_of(" {}", 0), "does not begin with {"},
      {file_of("[]", 0), "does not begin with {"},
      {file_of("null", 0), "does not begin with {"},
      {file_of("{", 0), "not valid JSON"},
      {file_of("{}x", 0), "not valid JSON"},
      {file_of("{} {}", 0), "not valid JSON"},
      {file_of(std::string("{}\0\0\0\0\0\0", 8), 0), "not valid JSON at byte 2: a zero byte"},
      {file_of("{\"\xff\":1}", 0), "not valid JSON"},
      {file_of(R"({"w":{"dtype":"F32",}})", 0), "not valid JSON"},
      {file_of("{\"w\":" + std::string(50'000, '['), 0), "nested deeper"},
      {file_of("{\"w\":" + std::string(50'000, '[') + std::string(50'000, ']') + "}", 0),
       "nested deeper"},
      {file_of(
           R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
           0),
       "key \"w\" stands twice"},
      {file_of(R"({"w":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0),
       "key \"dtype\" stands twice"},
      {file_of(R"({"__metadata__":{"k":"1","k":"2"}})", 0), "key \"k\" stands twice"},
      // metadata
      {file_of(R"({"__metadata__":[]})", 0), "__metadata__: expected an object, found array"},
      {file_of(R"({"__metadata__":null})", 0), "__metadata__: expected an object, found null"},
      {file_of(R"({"__metadata__":{"epoch":3}})", 0),
       "__metadata__: key \"epoch\": expected a string, found number"},
      {file_of(R"({"__metadata__":{"a":{}}})", 0), "expected a string, found object"},
      // the fields of a tensor
      {file_of(one("\"U8\"", "[0]", "[0,0]", ""), 0), "the name is empty"},
      {file_of(R"({"w":3})", 0), "expected an object, found number"},
      {file_of(R"({"w":[]})", 0), "expected an object, found array"},
      {file_of(R"({"w":{}})", 0), "dtype is missing"},
      {file_of(R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4), "shape is missing"},
      {file_of(R"({"w":{"dtype":"F32","shape":[1]}})", 4), "data_offsets is missing"},
      {file_of(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}})", 4),
       "unknown field \"strides\""},
      {file_of(one("5", "[1]", "[0,4]"), 4), "dtype: expected a string, found number"},
      {file_of(one("\"f32\"", "[1]", "[0,4]"), 4), "unknown dtype \"f32\""},
      {file_of(one("\"BOOL\"", "[4]", "[0,4]"), 4), "unknown dtype \"BOOL\""},
      {file_of(one("\"\\u001b[31m\"", "[4]", "[0,4]"), 4), "unknown dtype \"\\x1b[31m\""},
      // shapes
      {file_of(one(f32, "1", "[0,4]"), 4), "shape: expected a list, found number"},
      {file_of(one(f32, "{}", "[0,4]"), 4), "shape: expected a list, found object"},
      {file_of(one(f32, "[-1]", "[0,4]"), 4), "found -1"},
      {file_of(one(f32, "[-1,-1]", "[0,4]"), 4), "found -1"},
      {file_of(one(f32, "[1.0]", "[0,4]"), 4), "found 1.0"},
      {file_of(one(f32, "[\"1\"]", "[0,4]"), 4), "expected integers"},
      {file_of(one(f32, "[null]", "[0,4]"), 4), "found null"},
      {file_of(one(f32, "[[1]]", "[0,4]"), 4), "found array"},
      {file_of(one(f32, "[true]", "[0,4]"), 4), "found true"},
      {file_of(one(f32, "[9223372036854775808]", "[0,4]"), 4),
       "expected integers from 0 to 2^63 - 1"},
      {file_of(one(f32, "[99999999999999999999999]", "[0,4]"), 4), "expected integers"},
      {file_of(one(f32, "[4294967296,4294967296]", "[0,0]"), 0), "more than 2^63 bytes"},
      {file_of(one(f32, "[4611686018427387905]", "[0,4]"), 4),
       "more than 2^63 bytes"},  // 4 bytes modulo 2^64
      {file_of(one(f32, "[2147483648,2147483648,4,4]", "[0,0]"), 0), "more than 2^63 bytes"},
      // offsets
      {file_of(one(f32, "[1]", "4"), 4), "data_offsets: expected [begin, end]"},
      {file_of(one(f32, "[1]", "[4]"), 4), "data_offsets: expected [begin, end]"},
      {file_of(one(f32, "[1]", "[0,4,8]"), 8), "data_offsets: expected [begin, end]"},
      {file_of(one(f32, "[1]", "[-4,0]"), 4), "data_offsets: expected integers"},
      {file_of(one(f32, "[1]", "[0,4.0]"), 4), "data_offsets: expected integers"},
      {file_of(one(f32, "[1]", "[0,18446744073709551615]"), 4), "data_offsets: expected integers"},
      {file_of(one(f32, "[1]", "[4,0]"), 4), "begin 4 is after end 0"},
      {file_of(one(f32, "[1]", "[0,4]"), 3), "end 4 is beyond the 3 bytes of data"},
      {file_of(one(f32, "[1]", "[0,9223372036854775807]"), 4), "is beyond the 4 bytes"},
      {file_of(one(f32, "[2]", "[0,4]"), 4), "shape and dtype need 8 bytes, data_offsets span 4"},
      {file_of(one("\"F64\"", "[1]", "[0,4]"), 4),
       "shape and dtype need 8 bytes, data_offsets span 4"},
      {file_of(one(f32, "[]", "[0,0]"), 0), "shape and dtype need 4 bytes, data_offsets span 0"},
      {file_of(one(f32, "[0]", "[0,4]"), 4), "shape and dtype need 0 bytes, data_offsets span 4"},
      {file_of(one(f32, "[1]", "[4,8]"), 8), "begins at byte 4 of the data, after a gap from 0"},
      {file_of(two("[0,4]", "[8,12]"), 12),
       "tensor \"b\": begins at byte 8 of the data, after a gap from 4"},
      {file_of(two("[0,4]", "[2,6]"), 6),
       "tensor \"b\": begins at byte 2 of the data, inside the tensor before it"},
      {file_of(two("[0,4]", "[0,4]"), 4), "inside the tensor before it"},
      {file_of(one("\"U8\"", "[0]", "[2,2]"), 0), "end 2 is beyond the 0 bytes"},
      {file_of(two("[0,4]", "[4,8]"), 9), "1 bytes after the last tensor belong to none"},
      {file_of("{}", 1), "1 bytes after the last tensor belong to none"},
      {file_of(one(f32, "[1]", "[0,8]", "a\\nb"), 8), "tensor \"a\\x0ab\": "},
      {file_of(one(f32, "[1]", "[0,8]", std::string(5000, 'n')), 8),
       "nnn...\": shape and dtype need 4 bytes"},
  };
  for (const auto& c : cases) {
    const std::string message =
        refusal(Fault::kInput, [&] { SafeTensors::parse("model.safetensors", to_vector(c.file)); });
    EXPECT_TRUE(message.starts_with("model.safetensors: ")) << message;
    EXPECT_CONTAINS(message, c.reason);
  }
}

TEST(SafeTensors, NoCutAndNoFlippedBitCrashes) {
  const std::vector<float> a = {1, 2, 3};
  const std::vector<uint8_t> b = {1, 2};
  const std::vector<std::byte> good = safetensors_bytes(
      std::vector<TensorEntry>{{"a", {3}, std::span(a)}, {"b", {1, 2}, std::span(b)}},
      {{"k", "v"}});
  for (size_t size = 0; size < good.size(); ++size)
    refusal(Fault::kInput, [&] {
      SafeTensors::parse("t", std::vector(good.begin(), good.begin() + static_cast<int64_t>(size)));
    });
  int accepted = 0;
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::vector<std::byte> bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    try {
      const SafeTensors file = SafeTensors::parse("t", bad);
      size_t bytes = 0;
      for (const TensorInfo& t : file.tensors()) bytes += t.data.size();
      EXPECT_EQ(bytes, 14u);
      ++accepted;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::kInput) << error.what();
    }
  }
  EXPECT_GE(accepted, 14 * 8);  // all those in the data
}

TEST(SafeTensors, TheWriterChecksItsArguments) {
  const std::vector<float> a = {1, 2};
  const std::vector<std::vector<TensorEntry>> wrong = {
      {{"", {2}, std::span(a)}},
      {{"__metadata__", {2}, std::span(a)}},
      {{"a", {2}, std::span(a)}, {"a", {2}, std::span(a)}},
      {{"a", {3}, std::span(a)}},
      {{"a", {-1, -2}, std::span(a)}},
  };
  for (const auto& entries : wrong) refusal(Fault::kBug, [&] { safetensors_bytes(entries); });
  refusal(Fault::kInput, [&] {
    safetensors_bytes(std::vector<TensorEntry>{{"\xff", {2}, std::span(a)}});
  });
}

TEST(SafeTensors, CountsNonFiniteValues) {
  const float inf = INFINITY, nan = NAN;
  const std::vector<float> f32 = {1, inf, -inf, nan, std::numeric_limits<float>::max(), 0};
  const std::vector<double> f64 = {nan, 1, -double{INFINITY}, std::numeric_limits<double>::max()};
  std::vector<float16> f16;
  std::vector<bfloat16> bf16;
  for (const float value : {-1.f, inf, nan, 65504.f})
    f16.emplace_back(value), bf16.emplace_back(value);
  const std::vector<uint8_t> u8 = {255, 255};
  const std::vector<TensorEntry> entries = {{"u8", {2}, std::span(u8)},
                                            {"f32", {6}, std::span(f32)},
                                            {"f64", {4}, std::span(f64)},
                                            {"f16", {4}, std::span(f16)},
                                            {"bf16", {4}, std::span(bf16)}};
  const SafeTensors file = SafeTensors::parse("t", safetensors_bytes(entries));
  EXPECT_EQ(count_nonfinite(*file.find("f32")), 3);
  EXPECT_EQ(count_nonfinite(*file.find("f64")), 2);
  EXPECT_EQ(count_nonfinite(*file.find("f16")), 2);
  EXPECT_EQ(count_nonfinite(*file.find("bf16")), 2);
  EXPECT_EQ(count_nonfinite(*file.find("u8")), 0);
}

}  // namespace
}  // namespace passnorm::test
