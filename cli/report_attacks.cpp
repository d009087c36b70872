// The report's sections on attacks.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "cli/report_parts.hpp"
#include "verify/examine.hpp"

namespace passnorm::cli {
namespace {

using Line = Series::Line;

/// The horizontal axis of a group, and where the points of each of its items stand on it.
struct Places {
  Axis axis;
  std::vector<std::vector<double>> at;
};

/// An attack may begin where the untouched network stands.
bool in_order(const AttackRecord& attack) {
  return std::ranges::is_sorted(attack.points, {}, &PointRecord::x);
}

Places linear_places(const AttackGroup& group) {
  const AttackRecord& first = *group.items[0].second;
  const bool share = std::ranges::all_of(
      group.items, [](const auto& item) { return axis_is_share(*item.second); });
  const double unit = share ? 100 : 1;
  Places places;
  double least = first.points.front().x, most = least;
  bool whole = true;
  for (const auto& [pool, attack] : group.items) {
    auto& at = places.at.emplace_back();
    for (const PointRecord& p : attack->points) {
      at.push_back(unit * p.x);
      whole = whole && p.x == std::floor(p.x);
      least = std::min(least, p.x);
      most = std::max(most, p.x);
    }
  }
  places.axis = linear_axis(axis_text(first) + (share ? " (%)" : ""), unit * least, unit * most);
  if (whole)
    std::erase_if(places.axis.ticks, [](const auto& t) { return t.at != std::floor(t.at); });
  return places;
}

/// Strengths that are no growing numbers stand side by side, those of equal names together.
Places named_places(const AttackGroup& group) {
  std::vector<std::string> names;
  Places places;
  for (const auto& [pool, attack] : group.items) {
    auto& at = places.at.emplace_back();
    std::map<std::string, int> seen;
    for (const PointRecord& p : attack->points) {
      const std::string text = x_text(*attack, p);
      const int repeat = seen[text]++;
      auto found = names.begin();
      for (int i = 0; (found = std::find(found, names.end(), text)) != names.end() && i < repeat;
           ++i)
        ++found;
      at.push_back(static_cast<double>(found - names.begin()));
      if (found == names.end()) names.push_back(text);
    }
  }
  places.axis = ordinal_axis(axis_text(*group.items[0].second), names);
  return places;
}

Places places_of(const AttackGroup& group) {
  const bool linear = std::ranges::all_of(group.items, [](const auto& item) {
    return in_order(*item.second) && item.second->name != "quantise";
  });
  return linear ? linear_places(group) : named_places(group);
}

/// A value of every point, over the places of item i.
template <class F>
std::vector<Series::Point> points(const AttackRecord& attack, const std::vector<double>& at,
                                  F value) {
  std::vector<Series::Point> out;
  for (size_t i = 0; i < attack.points.size(); ++i) out.push_back({at[i], value(attack.points[i])});
  return out;
}

std::optional<Measured> forged(const PointRecord& p, Measured (ClaimRecord::*value)() const) {
  return p.forger ? std::optional(((*p.forger).*value)()) : std::nullopt;
}

/// First and last value of each series, in words.
std::string described(const Chart& chart) {
  std::string out = fmt::format("{} against {}.", chart.title, chart.x.label);
  for (const Series& s : chart.series) {
    if (s.thin) continue;
    const auto known = [](const Series::Point& p) { return p.y.has_value(); };
    const auto first = std::ranges::find_if(s.points, known);
    const auto last = std::ranges::find_if(s.points.rbegin(), s.points.rend(), known);
    if (first == s.points.end()) continue;
    out += fmt::format(" {}: from {:.4g} to {:.4g}.", s.label.empty() ? "Line" : s.label,
                       first->y->value, last->y->value);
  }
  return out;
}

std::string capitalised(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] -= 'a' - 'A';
  return text;
}

double least_log2(const ReportData& data) {
  double least = 2 * verify::kLog2Threshold;
  const auto lower = [&](const Measured& log2) {
    least = std::min(least, log2.interval ? log2.interval->low : log2.value);
  };
  for (const RunRecord& pool : data.pools)
    for (const AttackRecord& attack : pool.attacks)
      for (const PointRecord& p : attack.points) {
        lower(p.owner.corrected());
        if (p.forger) lower(p.forger->corrected());
      }
  return least;
}

}  // namespace

std::string PageWriter::section(const AttackGroup& group) {
  const AttackRecord& first = *group.items[0].second;
  std::string out =
      fmt::format("<section class=\"attack\">\n<h3>{}</h3>\n<p>{}. Source: {}.</p>\n",
                  html(group.title), html(capitalised(first.description)), html(first.source));
  const bool forgers = any_point(group, [](const PointRecord& p) { return p.forger.has_value(); });
  const bool lines = std::ranges::any_of(
      group.items, [](const auto& item) { return item.second->points.size() > 1; });
  if (const std::string counted = counts(group); !counted.empty()) {
    out += counted;
  } else if (lines) {
    const Places places = places_of(group);
    Chart accuracy{.title = "Accuracy on the test set", .x = places.axis, .y = percent_axis("")};
    Chart bits{.title = "Bits that match",
               .x = places.axis,
               .y = percent_axis(""),
               .references = {{0.5, "chance"}}};
    Chart chance{
        .title = "log2 p, corrected",
        .x = places.axis,
        .y = linear_axis("", least_log2(data_), 0),
        .references = {{verify::kLog2Threshold, fmt::format("{:.0f}: beyond chance below this line",
                                                            verify::kLog2Threshold)}}};
    Chart triggers{.title = "Accuracy on the triggers", .x = places.axis, .y = percent_axis("")};
    for (size_t i = 0; i < group.items.size(); ++i) {
      const size_t pool = group.items[i].first;
      const AttackRecord* const attack = group.items[i].second;
      const std::vector<double>& at = places.at[i];
      const auto series = [&](const std::string& what, Line line, auto value) {
        return Series{.label = label(pool, what),
                      .colour = pool,
                      .line = line,
                      .points = points(*attack, at, value)};
      };
      add(accuracy, series("public", Line::kSolid,
                           [](const PointRecord& p) { return p.owner.accuracy.released; }));
      add(accuracy, series("stolen", Line::kSolid,
                           [](const PointRecord& p) { return p.metric("stolen accuracy"); }));
      add(accuracy, series("passport", Line::kDashed,
                           [](const PointRecord& p) { return p.owner.accuracy.passport; }));
      add(accuracy, series("forger", Line::kDotted, [](const PointRecord& p) {
            return p.forger ? p.forger->accuracy.passport : std::nullopt;
          }));
      add(bits, series("owner", Line::kSolid,
                       [](const PointRecord& p) { return std::optional(p.owner.share()); }));
      add(bits, series("forger", Line::kDotted,
                       [](const PointRecord& p) { return forged(p, &ClaimRecord::share); }));
      add(chance, series("owner", Line::kSolid,
                         [](const PointRecord& p) { return std::optional(p.owner.corrected()); }));
      add(chance, series("forger", Line::kDotted,
                         [](const PointRecord& p) { return forged(p, &ClaimRecord::corrected); }));
      add(triggers, series("public", Line::kSolid, [](const PointRecord& p) {
            return p.triggers ? p.triggers->released : std::nullopt;
          }));
      add(triggers, series("passport", Line::kDashed, [](const PointRecord& p) {
            return p.triggers ? p.triggers->passport : std::nullopt;
          }));
      for (size_t site = 0; site < attack->points[0].owner.sites.size(); ++site)
        add(bits,
            {.colour = pool,
             .thin = true,
             .points = points(*attack, at, [&](const PointRecord& p) -> std::optional<Measured> {
               if (site >= p.owner.sites.size() || p.owner.sites[site].total == 0) return {};
               const SiteBits& s = p.owner.sites[site];
               return static_cast<double>(s.matched) / static_cast<double>(s.total);
             })});
    }
    std::string panels;
    size_t drawn = 0;
    for (Chart* chart : {&accuracy, &bits, &chance, &triggers}) {
      if (chart->series.empty()) continue;
      chart->description = described(*chart);
      panels += svg(*chart);
      ++drawn;
    }
    out += figure(panels,
                  html(group.title) +
                      ": accuracy, owner's bits (thin lines: single sites) and "
                      "their log2 p against " +
                      html(axis_text(first)) + "." + legend(panels, forgers),
                  drawn % 2 == 1);
  }
  out += points_table(group);
  // One after another: tables are numbered as they are written.
  std::string small = sites_tables(group);
  small += metrics_tables(group);
  return out + (small.empty() ? "" : "<div class=\"tables\">\n" + small + "</div>\n") +
         "</section>\n";
}

/// Random passports by how many bits they match.
std::string PageWriter::counts(const AttackGroup& group) {
  std::string panels;
  size_t drawn = 0;
  for (const auto& [pool, attack] : group.items) {
    const PointRecord& last = attack->points.back();
    for (const auto& [prefix, title] : {std::pair("own bits, ", "bits drawn with the key"),
                                        std::pair("owner's bits, ", "the owner's bits")}) {
      Histogram h{.title = data_.pools[pool].label + ": passports by " + title,
                  .x_label = "bits that match",
                  .colour = pool};
      for (const auto& [name, value] : last.metrics)
        if (is_count(name) && name.starts_with(prefix))
          h.counts.push_back(std::llround(std::clamp(value.value, 0.0, 1e15)));
      if (h.counts.empty()) continue;
      const auto best = last.metric(std::string(prefix) + "best");
      const double bits = static_cast<double>(data_.pools[pool].bits());
      if (best && bits > 0)
        h.marks.push_back({std::clamp(best->value / bits, 0.0, 1.0),
                           fmt::format("{} {:g} of {:g}", best_text(*attack), best->value, bits)});
      h.marks.push_back({last.owner.share().value, "owner " + bits_text(last.owner)});
      h.description =
          fmt::format("{:g} random passports by the share of {} that they match.", last.x, title);
      panels += svg(h);
      ++drawn;
    }
  }
  if (drawn == 0) return {};
  return figure(
      panels,
      html(group.title) +
          ": random passports by the bits that they match. Bits that were drawn with "
          "their key match as coins do; against fixed bits random keys spread wider, which "
          "is why a claim counts only with bits that are bound to its key.",
      drawn % 2 == 1);
}

std::string PageWriter::strangers() {
  std::string panels;
  size_t drawn = 0;
  for (size_t i = 0; i < data_.pools.size(); ++i) {
    const RunRecord& run = data_.pools[i];
    if (!run.claim || !run.claim->null) continue;
    const NullAccuracy& null = *run.claim->null;
    panels += svg(Histogram{
        .title = fmt::format("{}: {} random passports", run.label, null.passports),
        .description = fmt::format(
            "Accuracy of the passport branch with {} random passports on {} images: mean {}, best "
            "{}; with the owner's passport {}.",
            null.passports, null.images, percent_text(null.mean), percent_text(null.best),
            percent_text(null.owner)),
        .x_label = "accuracy of the passport branch",
        .counts = null.histogram,
        .colour = i,
        .marks = {{null.owner, "owner " + percent_text(null.owner)},
                  {null.best, "best " + percent_text(null.best)}}});
    ++drawn;
  }
  if (drawn == 0) return {};
  return "<h3>Random passports</h3>\n" +
         figure(panels,
                "The passport branch with random passports, whose bits are drawn with them, and "
                "with the owner's on the same images (passnorm verify).",
                drawn % 2 == 1);
}

std::string PageWriter::attacks() {
  std::string body;
  if (!groups_.empty()) {
    body += at_a_glance();
    body += forgers();
  }
  body += strangers();
  for (const AttackGroup& group : groups_) body += section(group);
  return body.empty() ? body : "<h2>Attacks</h2>\n" + body;
}

}  // namespace passnorm::cli
