#include "engine/io/csv.hpp"

#include "tests/support/files.hpp"

namespace passnorm {
namespace {

using Fields = std::vector<std::string>;

std::vector<Fields> fields(std::string_view text) {
  std::vector<Fields> out;
  for (CsvRecord& r : parse_csv("t", text)) out.push_back(std::move(r.fields));
  return out;
}

TEST(Csv, Records) {
  const struct {
    std::string_view text;
    std::vector<Fields> expected;
  } rows[] = {
      {"a", {{"a"}}},
      {"a\n", {{"a"}}},
      {"a,b\n1,2", {{"a", "b"}, {"1", "2"}}},
      {"a,b\r\n1,2\r\n", {{"a", "b"}, {"1", "2"}}},
      {",\n,", {{"", ""}, {"", ""}}},
      {"\n", {{""}}},
      {"a\n\n", {{"a"}, {""}}},
      {" a , b\n", {{" a ", " b"}}},
      {"\"a\",\"b,c\"\n", {{"a", "b,c"}}},
      {"\"\",\"\"\"\"\n", {{"", "\""}}},
      {"\"say \"\"no\"\"\"\n", {{"say \"no\""}}},
      {"\"two\nlines\",b\r\n1,2", {{"two\nlines", "b"}, {"1", "2"}}},
      {"\"a\r\nb\"", {{"a\r\nb"}}},
      {"a\rb,c", {{"a\rb", "c"}}},
      {"\xef\xbb\xbf"
       "a,b",
       {{"a", "b"}}},
      {"\xef\xbb\xbf\"a\"", {{"a"}}},
  };
  for (const auto& row : rows) EXPECT_EQ(fields(row.text), row.expected) << row.text;
}

TEST(Csv, LinesAreCounted) {
  const auto records = parse_csv("t", "a\n\"1\n2\n3\"\nb");
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].line, 1);
  EXPECT_EQ(records[1].line, 2);
  EXPECT_EQ(records[2].line, 5);
}

TEST(Csv, RefusesInOneLine) {
  using namespace std::string_view_literals;
  const struct {
    std::string_view text;
    const char* reason;
  } rows[] = {
      {"", "t:1: the file is empty, expected a header"},
      {"\xef\xbb\xbf", "t:1: the file is empty"},
      {"a,b\n1", "t:2: 1 fields; the first line has 2"},
      {"a,b\n1,2,3", "t:2: 3 fields; the first line has 2"},
      {"a,b\n\n1,2", "t:2: 1 fields; the first line has 2"},
      {"a\"b", "t:1: a quote inside a field that does not begin with one"},
      {"a,b\n1, \"2\"", "t:2: a quote inside a field"},
      {"\"a\"b", "t:1: expected a comma or the end of the line"},
      {"\"a\" ,b", "t:1: expected a comma or the end of the line"},
      {"\"a\"\r,b", "t:1: expected a comma or the end of the line"},
      {"a\n\"b", "t:2: a field's opening quote is never closed"},
      {"a\n\"b\n\n", "t:2: a field's opening quote is never closed"},
      {"a\n\"b\"\"", "t:2: a field's opening quote is never closed"},
      {"a\n\"b\nc\"d", "t:3: expected a comma or the end of the line"},
      {"a\0b"sv, "t:1: a zero byte"},
      {"\"a\0b\""sv, "t:1: a zero byte"},
  };
  for (const auto& row : rows)
    EXPECT_CONTAINS(test::refusal(Fault::kInput, [&] { parse_csv("t", row.text); }), row.reason);
}

TEST(Csv, FieldsAreReadAsTheyWereWritten) {
  for (const std::string value : {"", "a", "a,b", "\"", "\"\"", "a\nb", "a\r\nb", "\r", " x ",
                                  "\xef\xbb\xbf"
                                  "a",
                                  "\xc3\xa4", "'"})
    EXPECT_EQ(fields(csv_field(value) + "," + csv_field("x") + "\n"),
              (std::vector<Fields>{{value, "x"}}))
        << value;
}

}  // namespace
}  // namespace passnorm
