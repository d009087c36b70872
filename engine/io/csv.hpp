// Comma-separated values (RFC 4180), read strictly: tables of other programs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace passnorm {

struct CsvRecord {
  int64_t line = 0;  ///< where it begins, from 1
  std::vector<std::string> fields;
};

/// The records of `text`, the header among them. Records end with \n or \r\n, the last one with the
/// text too. A field in double quotes may hold commas, line ends, and quotes that are doubled. A
/// byte order mark (UTF-8) before the first field is skipped. Error(kInput), one line that starts
/// with NAME:line: no record, a quote inside a plain field or bytes behind a closing one, a quote
/// that is never closed, a zero byte, a record with another number of fields than the first.
std::vector<CsvRecord> parse_csv(std::string_view name, std::string_view text);

/// A field as it stands in a file: in quotes where it has to be.
std::string csv_field(std::string_view value);

}  // namespace passnorm
