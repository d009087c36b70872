// What passnorm report reads: results of attacks, lines of training metrics, claims. What is
// accepted becomes a page, its JSON and its tables, alone and beside itself with another seed.
#include "cli/report_page.hpp"
#include "cli/report_pool.hpp"
#include "engine/io/file.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace passnorm::fuzz {
namespace {

using namespace cli;

/// Nothing of the input is markup: every element is one of the page's.
void check(ReportData data) {
  if (!accepts({Fault::kUsage}, [&] { pool_runs(data); })) return;
  const std::string page = report_page(data), tables = report_markdown(data);
  require(page.find("<script") == std::string::npos, "a page holds nothing that runs");
  require(std::ranges::count(page, '<') == std::ranges::count(page, '>'), "tags are whole");
  for (const std::string_view text : {std::string_view(page), std::string_view(tables)})
    require(std::ranges::all_of(
                text, [](char c) { return c == '\n' || (c != '\x7f' && (c < 0 || c >= 0x20)); }),
            "no control characters");
  const std::string json = dump_json("report", report_json(data));
  require(dump_json("report", parse_json("report", json)) == json, "the numbers are JSON");
  for (const RunRecord& pool : data.pools)
    for (const AttackRecord& attack : pool.attacks)
      for (const PointRecord& p : attack.points) {
        const Measured share = p.owner.share();
        require(share.value >= 0 && share.value <= 1, "a share is one");
        if (share.interval)
          require(share.interval->low <= share.value && share.value <= share.interval->high,
                  "an interval holds its value");
      }
}

RunRecord run_of(AttackRecord attack, const char* folder) {
  return {.folders = {folder},
          .architecture = attack.architecture,
          .scheme = attack.scheme,
          .norm = attack.norm,
          .data = attack.data,
          .classes = attack.classes,
          .sha256 = folder,
          .sites = attack.sites,
          .attacks = {std::move(attack)}};
}

void read_attack(std::string_view text) {
  AttackRecord attack;
  if (!accepts({Fault::kInput}, [&] { attack = parse_attack("f", text); })) return;
  check({.runs = {run_of(attack, "a")}});
  AttackRecord other = attack;
  other.seeds[0] ^= 1;
  std::ranges::reverse(other.points);
  check({.runs = {run_of(std::move(attack), "a"), run_of(std::move(other), "b")}});
}

void read_metrics(std::string_view text) {
  RunRecord run{.folders = {"f"}};
  if (accepts({Fault::kInput}, [&] { parse_metrics("f", text, run); }) && !run.epochs.empty())
    check({.runs = {std::move(run)}});
}

void read_verification(std::string_view text) {
  RunRecord run{.folders = {"f"}, .scheme = "pan"};
  if (!accepts({Fault::kInput}, [&] {
        run.claim_document = parse_json("f", text);
        run.claim = read_claim(JsonField(run.claim_document, "f"));
      }))
    return;
  check({.runs = {std::move(run)}});
}

}  // namespace
}  // namespace passnorm::fuzz

void passnorm::fuzz::run(std::span<const std::byte> input) {
  const std::string_view text = text_of(input);
  read_attack(text);
  read_metrics(text);
  read_verification(text);
}
