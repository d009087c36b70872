#include "train/data/predictions.hpp"

#include "tests/support/files.hpp"

namespace passnorm::train {
namespace {

using test::refusal;
using Labels = std::vector<int32_t>;

const std::vector<std::string> kFiles = {"pics/0.png", "pics/1.png", "a, b.png"};

Labels parse(std::string_view text) { return parse_predictions("t.csv", text, kFiles, 10); }

TEST(Predictions, InTheOrderOfTheFiles) {
  EXPECT_EQ(parse("file,label\npics/0.png,3\npics/1.png,0\n\"a, b.png\",9\n"), (Labels{3, 0, 9}));
  EXPECT_EQ(parse("score,label,note,file\r\n"
                  "0.5,9,,\"a, b.png\"\r\n"
                  "x,1,\"two\nlines\",pics/1.png\r\n"
                  ",2,,pics/0.png"),
            (Labels{2, 1, 9}));
}

TEST(Predictions, WithoutFilesThoseOfTheTable) {
  EXPECT_EQ(parse_predictions("t", "file,label\nz,1\ny,2\n", {}, 3), (Labels{1, 2}));
}

TEST(Predictions, AreReadAsTheyWereWritten) {
  const Labels labels = {4, 0, 7};
  EXPECT_EQ(parse(predictions_csv(kFiles, labels)), labels);
}

TEST(Predictions, RefusesInOneLine) {
  const std::string good = "file,label\npics/0.png,3\npics/1.png,0\n";
  const struct {
    std::string text;
    const char* reason;
  } rows[] = {
      {"", "t.csv:1: the file is empty"},
      {"file,label", "t.csv:1: a header, and no answers below it"},
      {"picture,label\na,1", "t.csv:1: no column \"file\"; expected a header such as file,label"},
      {"file,Label\na,1", "t.csv:1: no column \"label\""},
      {"pics/0.png,3\n", "t.csv:1: no column \"file\""},
      {"file,label,file\na,1,b", "t.csv:1: the column \"file\" stands twice"},
      {"label,file,label\n1,a,1", "t.csv:1: the column \"label\" stands twice"},
      {good + "\"a, b.png\"\n", "t.csv:4: 1 fields; the first line has 2"},
      {good, "t.csv: no answer for 1 of 3 files, the first of them \"a, b.png\""},
      {good + "pics/0.png,3\n", "t.csv:4: \"pics/0.png\" stands twice"},
      {good + "0.png,3\n",
       "t.csv:4: \"0.png\" is no file of the set, which names them as \"pics/0.png\""},
      {good + "a\x1b,3\n", "t.csv:4: \"a\\x1b\" is no file"},
      {good + "\"a, b.png\",10\n", "t.csv:4: label \"10\", expected a whole number from 0 to 9"},
      {good + "\"a, b.png\",-1\n", "label \"-1\""},
      {good + "\"a, b.png\",-0\n", "label \"-0\""},
      {good + "\"a, b.png\",+1\n", "label \"+1\""},
      {good + "\"a, b.png\",1.0\n", "label \"1.0\""},
      {good + "\"a, b.png\",1e0\n", "label \"1e0\""},
      {good + "\"a, b.png\", 1\n", "label \" 1\""},
      {good + "\"a, b.png\",1 \n", "label \"1 \""},
      {good + "\"a, b.png\",\n", "label \"\""},
      {good + "\"a, b.png\",cat\n", "label \"cat\""},
      {good + "\"a, b.png\",4294967296\n", "label \"4294967296\""},
  };
  for (const auto& row : rows)
    EXPECT_CONTAINS(refusal(Fault::kInput, [&] { parse(row.text); }), row.reason);
}

}  // namespace
}  // namespace passnorm::train
