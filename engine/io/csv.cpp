#include "engine/io/csv.hpp"

#include <algorithm>

#include "kernels/runtime/check.hpp"

namespace passnorm {
namespace {

class Reader {
 public:
  Reader(std::string_view name, std::string_view text) : name_(name), text_(text) {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (text_.starts_with(kByteOrderMark)) text_.remove_prefix(kByteOrderMark.size());
  }

  bool at_end() const { return at_ == text_.size(); }

  CsvRecord record() {
    CsvRecord record{line_, {}};
    do record.fields.push_back(field());
    while (take(','));
    if (!at_end() && !take('\n')) refuse("expected a comma or the end of the line");
    ++line_;
    return record;
  }

 private:
  /// A line ends with \n or \r\n: a \r before \n is no part of it.
  bool at_line_end() const {
    return at_end() || text_[at_] == '\n' || text_.substr(at_, 2) == "\r\n";
  }
  bool take(char c) {
    if (c == '\n' && text_.substr(at_, 2) == "\r\n") ++at_;
    if (at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  std::string field() {
    if (take('"')) return quoted_field();
    std::string value;
    while (!at_line_end() && text_[at_] != ',') {
      if (text_[at_] == '"') refuse("a quote inside a field that does not begin with one");
      if (text_[at_] == '\0') refuse("a zero byte");
      value += text_[at_++];
    }
    return value;
  }

  std::string quoted_field() {
    const int64_t opened = line_;
    std::string value;
    for (;; ++at_) {
      if (at_end())
        fail(Fault::kInput, name_, ":", opened, ": a field's opening quote is never closed");
      if (take('"') && (at_end() || text_[at_] != '"')) return value;
      if (text_[at_] == '\0') refuse("a zero byte");
      if (text_[at_] == '\n') ++line_;
      value += text_[at_];
    }
  }

  [[noreturn]] void refuse(std::string_view why) const {
    fail(Fault::kInput, name_, ":", line_, ": ", why);
  }

  std::string_view name_, text_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

}  // namespace

std::vector<CsvRecord> parse_csv(std::string_view name, std::string_view text) {
  Reader reader(name, text);
  std::vector<CsvRecord> records;
  while (!reader.at_end()) {
    records.push_back(reader.record());
    const CsvRecord& last = records.back();
    if (const size_t n = records[0].fields.size(); last.fields.size() != n)
      fail(Fault::kInput, name, ":", last.line, ": ", last.fields.size(),
           " fields; the first line has ", n);
  }
  if (records.empty()) fail(Fault::kInput, name, ":1: the file is empty, expected a header");
  return records;
}

std::string csv_field(std::string_view value) {
  if (value.find_first_of(",\"\r\n\xef") == std::string_view::npos) return std::string(value);
  std::string out = "\"";
  for (const char c : value) out.append(c == '"' ? 2 : 1, c);
  return out + '"';
}

}  // namespace passnorm
