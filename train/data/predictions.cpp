#include "train/data/predictions.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <unordered_map>

#include "engine/io/csv.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::train {
namespace {

size_t column(std::string_view name, const CsvRecord& header, std::string_view wanted) {
  const auto& fields = header.fields;
  const auto found = std::ranges::find(fields, wanted);
  if (found == fields.end())
    fail(Fault::kInput, name, ":", header.line, ": no column ", quote(wanted),
         "; expected a header such as file,label");
  if (std::find(found + 1, fields.end(), wanted) != fields.end())
    fail(Fault::kInput, name, ":", header.line, ": the column ", quote(wanted), " stands twice");
  return static_cast<size_t>(found - fields.begin());
}

std::optional<int32_t> label_of(std::string_view text, int64_t classes) {
  int32_t label = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (error != std::errc() || end != text.data() + text.size() || text[0] == '-' ||
      label >= classes)
    return {};
  return label;
}

}  // namespace

std::vector<int32_t> parse_predictions(std::string_view name, std::string_view text,
                                       std::span<const std::string> files, int64_t classes) {
  const std::vector<CsvRecord> records = parse_csv(name, text);
  const size_t file_column = column(name, records[0], "file"),
               label_column = column(name, records[0], "label");
  if (records.size() == 1)
    fail(Fault::kInput, name, ":", records[0].line, ": a header, and no answers below it");
  std::unordered_map<std::string_view, size_t> place;  // of a file in the result
  for (size_t i = 0; i < files.size(); ++i) place.emplace(files[i], i);
  constexpr int32_t kNone = -1;
  std::vector<int32_t> labels(files.empty() ? records.size() - 1 : files.size(), kNone);
  std::set<std::string_view> seen;
  for (size_t r = 1; r < records.size(); ++r) {
    const CsvRecord& record = records[r];
    const std::string& file = record.fields[file_column];
    const auto known = place.find(file);
    if (!files.empty() && known == place.end())
      fail(Fault::kInput, name, ":", record.line, ": ", quote(file),
           " is no file of the set, which names them as ", quote(files[0]));
    if (!seen.insert(file).second)
      fail(Fault::kInput, name, ":", record.line, ": ", quote(file), " stands twice");
    const auto label = label_of(record.fields[label_column], classes);
    if (!label)
      fail(Fault::kInput, name, ":", record.line, ": label ", quote(record.fields[label_column]),
           ", expected a whole number from 0 to ", classes - 1);
    labels[files.empty() ? r - 1 : known->second] = *label;
  }
  const auto missing = std::ranges::count(labels, kNone);
  if (missing > 0) {
    const auto first = std::ranges::find(labels, kNone) - labels.begin();
    fail(Fault::kInput, name, ": no answer for ", missing, " of ", files.size(),
         " files, the first of them ", quote(files[static_cast<size_t>(first)]));
  }
  return labels;
}

std::string predictions_csv(std::span<const std::string> files, std::span<const int32_t> labels) {
  std::string out = "file,label\n";
  for (size_t i = 0; i < files.size(); ++i)
    out += csv_field(files[i]) + ',' + std::to_string(labels[i]) + '\n';
  return out;
}

}  // namespace passnorm::train
