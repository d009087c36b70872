#include <limits>

#include "engine/io/json.hpp"
#include "tests/support/files.hpp"

namespace passnorm::test {
namespace {

TEST(Json, ReadsEveryKindOfValueAndKeepsTheOrder) {
  const std::string text =
      R"({"z":1,"a":[-2,2.5,true,false,null,"s",{},[]],"m":{"y":"\u00fc\n","b":18446744073709551615}})";
  const Json value = parse_json("t", text);
  EXPECT_EQ(value["z"], 1);
  EXPECT_EQ(value["a"].size(), 8u);
  EXPECT_EQ(value["m"]["b"].get<uint64_t>(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(dump_json("t", value),
            "{\"z\":1,\"a\":[-2,2.5,true,false,null,\"s\",{},[]],\"m\":{\"y\":\"\xc3\xbc\\n\","
            "\"b\":18446744073709551615}}");
  EXPECT_EQ(parse_json("t", dump_json("t", value, 2)), value);
  EXPECT_EQ(parse_json("t", " 3 "), 3);
}

TEST(Json, NestingUpToTheLimit) {
  const std::string deep = std::string(kMaxJsonDepth, '[') + std::string(kMaxJsonDepth, ']');
  EXPECT_EQ(dump_json("t", parse_json("t", deep)), deep);
}

TEST(Json, RefusesMalformedText) {
  struct Case {
    std::string text;
    const char* reason;
  };
  const Case cases[] = {
      {"", "not valid JSON"},
      {"{", "not valid JSON"},
      {"{\"a\":1,}", "not valid JSON"},
      {"[1,]", "not valid JSON"},
      {"[1] 2", "not valid JSON"},
      {"{} {}", "not valid JSON"},
      {std::string("{}\0", 3), "not valid JSON"},
      {"[01]", "not valid JSON"},
      {"[NaN]", "not valid JSON"},
      {"[1e999]", "not valid JSON"},
      {"// c\n1", "not valid JSON"},
      {"\"\xff\"", "not valid JSON"},
      {"\"\xc0\x80\"", "not valid JSON"},
      {"\"\\ud800\"", "not valid JSON"},
      {"\"a\nb\"", "not valid JSON"},
      {std::string(100'000, '"') + "x", "not valid JSON"},
      {"\"" + std::string(100'000, 'x'), "not valid JSON"},
      {"{\"a\":1,\"a\":1}", "key \"a\" stands twice"},
      {"[{\"x\":{\"k\":[],\"\\u006b\":0}}]", "key \"k\" stands twice"},
      {"{\"a\\n\":1,\"a\\n\":1}", "key \"a\\x0a\" stands twice"},
      {std::string(kMaxJsonDepth + 1, '['), "nested deeper than 64"},
      {std::string(1'000'000, '['), "nested deeper than 64"},
  };
  for (const Case& c : cases) {
    const std::string message = refusal(Fault::kInput, [&] { parse_json("the file", c.text); });
    EXPECT_TRUE(message.starts_with("the file: ")) << message;
    EXPECT_CONTAINS(message, c.reason);
  }
}

TEST(Json, EqualKeysOfDifferentObjectsAreFine) {
  EXPECT_EQ(parse_json("t", R"({"a":{"a":{"b":1}},"b":{"a":2}})")["a"]["a"]["b"], 1);
}

TEST(Json, ManyKeysTakeNoQuadraticTime) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += "\"" + std::to_string(i) + "\":0,";
  text.back() = '}';
  EXPECT_EQ(parse_json("t", text).size(),
            200'000u);  // minutes where each key is searched for among all others
}

TEST(Json, FilesAreNamed) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_json(folder.write("good.json", "{\"a\": 1}"))["a"], 1);
  const std::string bad = folder.write("bad.json", "{");
  EXPECT_TRUE(refusal(Fault::kInput, [&] { read_json(bad); }).starts_with(bad));
}

TEST(Json, InvalidUtf8IsNotWritten) {
  EXPECT_CONTAINS(refusal(Fault::kInput, [] { dump_json("report", Json("\xff")); }),
                  "report: a string is not valid UTF-8");
}

}  // namespace
}  // namespace passnorm::test
