// The report's section on published figures.
#include <fmt/format.h>

#include <algorithm>

#include "cli/report_parts.hpp"

namespace passnorm::cli {
namespace {

using Line = Series::Line;

/// As papers write it, on one line (U+2011 is a hyphen at which none ends); - for none.
std::string display_name(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"alexnet", "AlexNet"},
      {"resnet18", "ResNet\u201118"},
      {"pointnet", "PointNet"},
      {"cifar10", "CIFAR\u201110"},
      {"cifar100", "CIFAR\u2011100"},
      {"caltech101", "Caltech\u2011101"},
      {"caltech256", "Caltech\u2011256"},
      {"", "-"}};
  for (const auto& [known, shown] : kNames)
    if (name == known) return std::string(shown);
  return std::string(name);
}

/// Of a difference, points; of a share, per cent.
std::string our_text(const PublishedFigure& figure, const OurFigure& our) {
  std::string text = fmt::format("{:.1f}{}", 100 * our.value,
                                 figure.ours == Ours::kStrangersDrop ? " points" : "%");
  if (our.bits) text += fmt::format(", {:.1f}%", 100 * *our.bits);
  if (!our.differences.empty()) text += " (" + joined(our.differences, ", ") + ")";
  return text;
}

/// What it says, for how many layers with passports.
std::string value_text(const PublishedFigure& f, bool with_layers) {
  if (f.value.empty()) return "-";
  if (!with_layers || f.layers == 0) return std::string(f.value);
  return fmt::format("{} ({} layer{})", f.value, f.layers, f.layers == 1 ? "" : "s");
}

/// Figures that differ in the number of layers alone.
bool same_but_layers(const PublishedFigure& a, const PublishedFigure& b) {
  return a.layers > 0 && b.layers > 0 && a.what == b.what && a.network == b.network &&
         a.data == b.data && a.mark == b.mark && a.source == b.source;
}

}  // namespace

std::string PageWriter::published() {
  Table beside{.caption =
                   "Published figures and ours in the same setting; in brackets what is "
                   "not quite the same of ours.",
               .head = {"what", "network", "data", "layers with passports", "published", "mark",
                        "ours", "source"},
               .left = 8,
               .classes = "long"};
  Table others{.caption =
                   "Published figures that nothing in this report was measured beside; in "
                   "brackets the number of layers with passports.",
               .head = {"what", "network", "data", "published", "mark", "source"},
               .left = 6,
               .classes = "long"};
  const PublishedFigure* last = nullptr;  // of the others
  for (const PublishedFigure& f : published_figures()) {
    std::vector<std::string> values;
    for (const OurFigure& our : ours(f, data_))
      values.push_back(data_.pools[our.pool].label + " " + our_text(f, our));
    const std::string mark(name_of(f.mark)), source(f.source);
    if (!values.empty()) {
      beside.rows.push_back({std::string(f.what), display_name(f.network), display_name(f.data),
                             f.layers > 0 ? fmt::format("{}", f.layers) : "-", value_text(f, false),
                             mark, joined(values, "; "), source});
      continue;
    }
    if (last != nullptr && same_but_layers(*last, f))
      others.rows.back()[3] += "; " + value_text(f, true);
    else
      others.rows.push_back({std::string(f.what), display_name(f.network), display_name(f.data),
                             value_text(f, true), mark, source});
    last = &f;
  }
  std::string out =
      "<h2>Published figures beside ours</h2>\n"
      "<p>A figure of ours stands beside a published one when the network, the data set, the "
      "number of layers with passports and the settings of the attack are the published ones, as "
      "far as the source states them. What else differs, as another scheme, a shorter training or "
      "fewer images, is said: such a pair is an approximate comparison.</p>\n";
  if (!beside.rows.empty()) out += table(beside);
  out += table(others);

  Chart chart{.title = "Accuracy of the forger's passport branch",
              .x = linear_axis("share of the signature's bits flipped (%)", 0, 100),
              .y = percent_axis("")};
  std::string sources;
  constexpr Line kLines[] = {Line::kSolid, Line::kDashed, Line::kDotted};
  for (const PublishedCurve& c : published_curves()) {
    Series s{.label = std::string(c.label),
             .line = kLines[chart.series.size() % std::size(kLines)],
             .grey = true};
    for (const auto& [x, y] : c.points) s.points.push_back({100 * x, y});
    chart.series.push_back(std::move(s));
    sources += fmt::format(" {} ({}): {}.", html(c.label), name_of(c.mark), html(c.source));
  }
  for (const AttackGroup& group : groups_)
    for (const auto& [pool, attack] : group.items) {
      if (!is_flipped_forgery(*attack)) continue;
      Series s{.label = label(pool, attack->name),
               .colour = pool,
               .line = attack->name == "fake3" ? Line::kSolid : Line::kDashed};
      for (const PointRecord& p : attack->points)
        if (p.forger) s.points.push_back({100 * p.x, p.forger->accuracy.passport});
      add(chart, std::move(s));
    }
  chart.description =
      "Published curves of accuracy against the share of flipped bits, and those of this report.";
  return out + figure(svg(chart),
                      "A forger trains passports near the genuine ones towards a "
                      "signature with flipped bits (fake3, solid; ambiguity-2, dashed). Grey: "
                      "published; of which network is not stated." +
                          sources,
                      true);
}

}  // namespace passnorm::cli
