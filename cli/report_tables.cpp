// The report's tables on attacks.
#include <fmt/format.h>

#include <algorithm>

#include "cli/report_parts.hpp"

namespace passnorm::cli {

bool is_count(std::string_view metric) {
  const size_t at = metric.rfind(", ");
  if (at == std::string_view::npos || !metric.ends_with('%')) return false;
  const std::string_view range = metric.substr(at + 2, metric.size() - at - 3);
  return range.find('-') != std::string_view::npos &&
         range.find_first_not_of("0123456789-") == std::string_view::npos;
}

std::string PageWriter::at_a_glance() {
  Table t{
      .caption = fmt::format(
          "Each attack at the last point where the stolen network has lost at most {:.0f} "
          "points of accuracy (the task stands), and at its end. Bits and log2 p (corrected for "
          "claims tried and choices of sites) are the owner's. Of several networks that differ in "
          "their seeds alone: means, and counts over all; intervals stand in the tables below.",
          100 * kTaskStands),
      .head = {"attack", "network", "before", "stands up to", "accuracy", "bits", "log2 p",
               "verdict", "end", "accuracy", "bits", "log2 p"},
      .left = 2,
      .classes = "wide short"};
  for (const AttackSummary& s : summaries(data_)) {
    const auto values = [&](const PointRecord* p) -> std::vector<std::string> {
      if (p == nullptr) return {"-", "-", "-", "-"};
      return {place_text(*s.attack, *p), percent_text(task_accuracy(*s.attack, *p)),
              bits_text(p->owner), log2_text(p->owner.corrected().value)};
    };
    std::vector<std::string> row = {s.attack->title, data_.pools[s.pool].label,
                                    percent_text(s.before)};
    for (std::string& cell : values(s.stands)) row.push_back(std::move(cell));
    row.push_back(s.stands ? s.stands->owner.verdict : "-");
    for (std::string& cell : values(s.last)) row.push_back(std::move(cell));
    t.rows.push_back(std::move(row));
  }
  return table(t);
}

std::string PageWriter::points_table(const AttackGroup& group) {
  const bool thinned = std::ranges::any_of(
      group.items, [](const auto& item) { return item.second->points.size() > kMostRows; });
  const bool forgers = any_point(group, [](const PointRecord& p) { return p.forger.has_value(); });
  const bool triggers =
      any_point(group, [](const PointRecord& p) { return p.triggers.has_value(); });
  Table t{.caption =
              group.title + ": the owner's claim" + (forgers ? " and the forger's" : "") +
              (thinned ? " at some of the points (the JSON document has all)." : " at each point."),
          .head = {axis_text(*group.items[0].second), "network", "public", "passport", "bits",
                   "log2 p", "verdict"},
          .left = 2,
          .classes = "wide"};
  if (triggers) t.head.insert(t.head.end(), {"triggers, public", "passport"});
  if (forgers)
    t.head.insert(t.head.end(),
                  {"forger's passport", "forger's bits", "forger's log2 p", "forger's verdict"});
  for (const auto& [pool, attack] : group.items)
    for (const size_t i : shown_rows(attack->points.size(), kMostRows)) {
      const PointRecord& p = attack->points[i];
      std::vector<std::string> row = {x_text(*attack, p),
                                      data_.pools[pool].label,
                                      percent_text(p.owner.accuracy.released, true),
                                      percent_text(p.owner.accuracy.passport, true),
                                      bits_text(p.owner, true),
                                      log2_text(p.owner.corrected()),
                                      p.owner.verdict};
      if (triggers) {
        row.push_back(percent_text(p.triggers ? p.triggers->released : std::nullopt, true));
        row.push_back(percent_text(p.triggers ? p.triggers->passport : std::nullopt, true));
      }
      if (forgers) {
        const auto cell = [&](const std::string& text) { row.push_back(p.forger ? text : "-"); };
        const ClaimRecord f = p.forger.value_or(ClaimRecord{});
        cell(percent_text(f.accuracy.passport, true));
        cell(bits_text(f, true));
        cell(log2_text(f.corrected()));
        cell(f.verdict);
      }
      t.rows.push_back(std::move(row));
    }
  return table(t);
}

std::string PageWriter::sites_tables(const AttackGroup& group) {
  std::string out;
  for (const auto& [pool, attack] : group.items) {
    const std::vector<SiteBits>& sites = attack->points[0].owner.sites;
    if (sites.size() < 2) continue;
    std::vector<std::string> names, strengths;
    std::vector<std::vector<std::string>> cells;
    const std::vector<size_t> rows = shown_rows(attack->points.size(), kMostRows);
    for (const size_t i : rows) strengths.push_back(x_text(*attack, attack->points[i]));
    for (size_t s = 0; s < sites.size(); ++s) {
      names.push_back(fmt::format("{} ({})", sites[s].name, sites[s].total));
      auto& line = cells.emplace_back();
      for (const size_t i : rows) {
        const auto& at = attack->points[i].owner.sites;
        line.push_back(s < at.size() ? fmt::format("{}", at[s].matched) : "-");
      }
    }
    out += table(cross_table(fmt::format("{}, {}: bits that match at each site (of how many).",
                                         group.title, data_.pools[pool].label),
                             names, strengths, cells));
  }
  return out;
}

std::string PageWriter::metrics_tables(const AttackGroup& group) {
  std::string out;
  for (const auto& [pool, attack] : group.items) {
    std::vector<std::string> names, strengths;
    const std::vector<size_t> rows = shown_rows(attack->points.size(), kMostRows);
    for (const size_t i : rows) {
      strengths.push_back(x_text(*attack, attack->points[i]));
      for (const auto& [name, value] : attack->points[i].metrics)
        if (!is_count(name) && std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
    if (names.empty()) continue;
    std::vector<std::vector<std::string>> cells;
    for (const std::string& name : names) {
      auto& line = cells.emplace_back();
      for (const size_t i : rows) {
        line.push_back(number_text(attack->points[i].metric(name)));
      }
    }
    for (std::string& name : names) name = metric_text(*attack, name);
    out += table(cross_table(
        fmt::format("{}, {}: what else was measured.", group.title, data_.pools[pool].label), names,
        strengths, cells));
  }
  return out;
}

std::string PageWriter::forgers() {
  Table t{
      .caption =
          "Forgers: of each attack the forged claim that is the least likely by chance, beside "
          "the owner's passport on the same network. Bits that are fitted to the network match, "
          "are not bound, and leave the claim inconclusive; bound bits that a thief trains or "
          "writes in are supported as the owner's are, and only an earlier commitment tells "
          "whose were first.",
      .head = {"attack", "network", "at", "forger's bits", "log2 p", "bits bound", "accuracy",
               "owner's", "verdict"},
      .left = 2,
      .classes = "wide short"};
  for (const AttackSummary& s : summaries(data_)) {
    if (s.forger == nullptr) continue;
    const ClaimRecord& f = *s.forger->forger;
    t.rows.push_back({s.attack->title, data_.pools[s.pool].label, place_text(*s.attack, *s.forger),
                      bits_text(f), log2_text(f.corrected()), f.bits_bound ? "yes" : "no",
                      percent_text(f.accuracy.passport),
                      percent_text(s.forger->owner.accuracy.passport), f.verdict});
  }
  return t.rows.empty() ? std::string() : "<h3>Forgers</h3>\n" + table(t);
}

}  // namespace passnorm::cli
