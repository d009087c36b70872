#include "cli/config.hpp"
#include "cli/train_options.hpp"
#include "engine/io/file.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace passnorm::fuzz {
namespace {

using cli::Assignment;

/// The assignment as a line of TOML.
std::string line_of(const Assignment& a) {
  std::string value = a.type == Assignment::Type::kText ? cli::toml_string(a.text) : a.text;
  if (a.type == Assignment::Type::kNumber && value.find_first_of(".en") == std::string::npos)
    value += ".0";
  return cli::toml_string(a.key) + " = " + value + '\n';
}

/// TOML has no character 0x7f in its strings, which JSON does not escape.
bool is_writable(const Assignment& a) { return (a.key + a.text).find('\x7f') == std::string::npos; }

/// All settings, as the program writes them.
std::string toml_of(std::string_view text) {
  CLI::App app;
  cli::TrainOptions values;
  cli::OptionTable table(app);
  cli::add_train_options(table, values);
  table.complete_from_file(cli::parse_config("f", text));
  return table.toml();
}

}  // namespace

void run(std::span<const std::byte> input) {
  const std::string_view text = text_of(input);
  std::vector<Assignment> assignments;
  if (!accepts({Fault::kUsage}, [&] { assignments = cli::parse_config("f", text); })) return;
  std::erase_if(assignments, [](const Assignment& a) {
    return a.type == Assignment::Type::kOther || !is_writable(a);
  });
  std::string plain;
  for (const Assignment& a : assignments) plain += line_of(a);
  const std::vector<Assignment> again = cli::parse_config("f", plain);
  require(std::ranges::equal(again, assignments,
                             [](const Assignment& a, const Assignment& b) {
                               return a.key == b.key && a.text == b.text;
                             }),
          "assignments are read as they were written");

  std::string settings(text);
  // Settings without a default, which a run is given or works out before it writes them.
  for (const auto& [key, value] : {std::pair{"data", "synthetic"}, {"secret", "random"}})
    if (std::ranges::find(assignments, key, &Assignment::key) == assignments.end())
      settings += concat('\n', key, " = \"", value, "\"");
  if (!accepts({Fault::kUsage}, [&] { settings = toml_of(settings); })) return;
  require(toml_of(settings) == settings, "settings are read as they were written");
}

}  // namespace passnorm::fuzz
