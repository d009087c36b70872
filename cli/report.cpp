#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "cli/report_page.hpp"
#include "engine/io/file.hpp"
#include "engine/io/text.hpp"

namespace passnorm::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> folders;
  std::string out, json, markdown;
  bool with_seeds = false;
};

fs::path normal(const std::string& file) {
  std::error_code error;
  return fs::absolute(file, error).lexically_normal();
}

struct Output {
  const char* option;
  const std::string& file;
  const char* what;
  std::string_view start;  ///< of an earlier one
};

/// A report is made again as its runs grow, and takes the place of the earlier one; nothing else is
/// written over. Error(kUsage) where something else lies.
void refuse_to_replace_others(const Output& output) {
  std::error_code error;
  if (!fs::exists(output.file, error)) return;
  if (fs::is_regular_file(output.file, error)) {  // a pipe would be waited for
    std::ifstream file(output.file, std::ios::binary);
    std::string start(output.start.size(), '\0');
    file.read(start.data(), std::ssize(start));
    start.resize(static_cast<size_t>(file.gcount()));
    if (start == output.start || fs::is_empty(output.file, error)) return;
  }
  fail(Fault::kUsage, output.option, " ", printable(output.file, 4096), ": exists and is not ",
       output.what, " of an earlier report; give another name or remove it");
}

int run(const Options& o) {
  const Output outputs[] = {{"--out", o.out, "the page", kPageStart},
                            {"--json", o.json, "the JSON document", kDocumentStart},
                            {"--markdown", o.markdown, "the tables", kTablesStart}};
  for (const Output& output : outputs) {
    if (output.file.empty()) continue;
    for (const Output* other = outputs; other != &output; ++other)
      if (!other->file.empty() && normal(other->file) == normal(output.file))
        fail(Fault::kUsage, other->option, " and ", output.option, ": two files are needed, not ",
             printable(output.file, 4096));
    refuse_to_replace_others(output);
  }
  const ReportData data = read_report(o.folders, o.with_seeds);
  const std::string page = report_page(data), tables = report_markdown(data);
  const std::string json = dump_json("report", report_json(data), 1) + "\n";
  write_file_atomic(o.out, bytes_of(page));
  if (!o.json.empty()) write_file_atomic(o.json, bytes_of(json));
  if (!o.markdown.empty()) write_file_atomic(o.markdown, bytes_of(tables));
  size_t attacks = 0;
  for (const RunRecord& r : data.runs) attacks += r.attacks.size();
  for (const std::string& line : data.missing)
    fmt::print(stderr, "note: {}\n", printable(line, 4096));
  fmt::print("page      {}   {} network{}, {} result{} of attacks\n", printable(o.out, 4096),
             data.runs.size(), data.runs.size() == 1 ? "" : "s", attacks, attacks == 1 ? "" : "s");
  if (!o.json.empty()) fmt::print("numbers   {}\n", printable(o.json, 4096));
  if (!o.markdown.empty()) fmt::print("tables    {}\n", printable(o.markdown, 4096));
  return kYes;
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("report", "One page and one JSON from runs and attacks on them");
  auto o = std::make_shared<Options>();
  command
      ->add_option("folder", o->folders,
                   "run directories (with verify.json, where passnorm verify --json was kept), and "
                   "folders of attack-*.json")
      ->required()
      ->type_name("DIR");
  OptionTable options(*command);
  options.text("out", o->out, "the page: one HTML file that needs nothing else", "FILE").required();
  options.text("json", o->json, "the same numbers", "FILE");
  options.text("markdown", o->markdown, "the attacks as tables of Markdown", "FILE");
  options.call_flag("with-seeds", o->with_seeds,
                    "show the seed of a run whose passport follows from it: for experiments, "
                    "never for a network that is yours");
  command->footer(
      "The same files give the same bytes. An earlier report is replaced; no other file is. "
      "Several networks are drawn into the same charts; those that differ in their seeds alone are "
      "one line, with 95% intervals.\n"
      "Example: passnorm report runs/pan runs/deepipr-v2 --out report.html --json report.json");
  command->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
