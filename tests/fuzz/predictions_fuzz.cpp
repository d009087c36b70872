#include <string>

#include "engine/io/csv.hpp"
#include "engine/io/file.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "train/data/predictions.hpp"

namespace passnorm::fuzz {
namespace {

void read_table(std::string_view text) {
  std::vector<CsvRecord> records;
  if (!accepts({Fault::kInput}, [&] { records = parse_csv("f", text); })) return;
  std::string again;
  for (const CsvRecord& r : records) {
    require(r.fields.size() == records[0].fields.size(), "records have the same fields");
    for (size_t i = 0; i < r.fields.size(); ++i) again += (i ? "," : "") + csv_field(r.fields[i]);
    again += '\n';
  }
  const std::vector<CsvRecord> same = parse_csv("f", again);
  require(std::ranges::equal(same, records, {}, &CsvRecord::fields, &CsvRecord::fields),
          "a table is read as it was written");
}

}  // namespace
}  // namespace passnorm::fuzz

void passnorm::fuzz::run(std::span<const std::byte> input) {
  read_table(text_of(input));
  const std::vector<std::string> files = {"pics/0.png", "pics/1.png", "a, \"b\".png"};
  for (const bool known : {true, false}) {
    std::vector<int32_t> labels;
    if (!accepts({Fault::kInput}, [&] {
          labels = train::parse_predictions("f", text_of(input),
                                            known ? files : std::vector<std::string>(), 10);
        }))
      continue;
    for (const int32_t label : labels)
      require(label >= 0 && label < 10, "labels are in their range");
    if (known)
      require(
          train::parse_predictions("f", train::predictions_csv(files, labels), files, 10) == labels,
          "answers are read as they were written");
  }
}
