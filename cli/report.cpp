#include <fmt/format.h>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "cli/report_page.hpp"
#include "engine/io/file.hpp"
#include "engine/io/text.hpp"

namespace passnorm::cli {
namespace {

struct Options {
  std::vector<std::string> folders;
  std::string out, json, markdown;
  bool with_seeds = false;
};

int run(const Options& o) {
  const ReportData data = read_report(o.folders, o.with_seeds);
  const std::string page = report_page(data);
  const std::string json = dump_json("report", report_json(data), 1) + "\n";
  write_file_atomic(o.out, bytes_of(page));
  if (!o.json.empty()) write_file_atomic(o.json, bytes_of(json));
  if (!o.markdown.empty()) write_file_atomic(o.markdown, bytes_of(report_markdown(data)));
  size_t attacks = 0;
  for (const RunRecord& r : data.runs) attacks += r.attacks.size();
  for (const std::string& line : data.missing)
    fmt::print(stderr, "note: {}\n", printable(line, 4096));
  fmt::print("page      {}   {} network{}, {} result{} of attacks\n", o.out, data.runs.size(),
             data.runs.size() == 1 ? "" : "s", attacks, attacks == 1 ? "" : "s");
  if (!o.json.empty()) fmt::print("numbers   {}\n", o.json);
  if (!o.markdown.empty()) fmt::print("tables    {}\n", o.markdown);
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
      "The same files give the same bytes. Several networks are drawn into the same charts; those "
      "that differ in their seeds alone are one line, with 95% intervals.\n"
      "Example: passnorm report runs/pan runs/deepipr-v2 --out report.html --json report.json");
  command->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
