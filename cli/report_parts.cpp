#include "cli/report_parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace passnorm::cli {
namespace {

constexpr size_t kMostCell = 4000;

}  // namespace

std::string percent_text(double share) { return fmt::format("{:.2f}%", 100 * share); }

std::string percent_text(const std::optional<Measured>& share, bool interval) {
  if (!share) return "-";
  std::string text = percent_text(share->value);
  if (interval && share->interval)
    text +=
        fmt::format(" [{:.2f}, {:.2f}]", 100 * share->interval->low, 100 * share->interval->high);
  return text;
}

std::string log2_text(const Measured& log2) {
  const auto number = [](double v) { return fmt::format("{:.1f}", v == 0 ? 0.0 : v); };
  std::string text = number(log2.value);
  if (log2.interval && log2.interval->low != log2.interval->high)
    text += " [" + number(log2.interval->low) + ", " + number(log2.interval->high) + "]";
  return text;
}

std::string bits_text(const ClaimRecord& claim, bool interval) {
  std::string text = fmt::format("{} / {}", claim.matched, claim.total);
  if (const Measured share = claim.share(); interval && share.interval)
    text +=
        fmt::format(" [{:.2f}, {:.2f}]%", 100 * share.interval->low, 100 * share.interval->high);
  return text;
}

std::string number_text(const std::optional<Measured>& value) {
  if (!value) return "-";
  const auto number = [](double v) {
    return v == std::trunc(v) && std::abs(v) < 1e9 ? fmt::format("{:.0f}", v)
                                                   : fmt::format("{:.5g}", v);
  };
  std::string text = number(value->value);
  if (const auto& i = value->interval; i && i->low != i->high)
    text += " [" + number(i->low) + ", " + number(i->high) + "]";
  return text;
}

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : std::string(between)) + part;
  return out;
}

void add(Chart& chart, Series series) {
  if (std::ranges::any_of(series.points, [](const auto& p) { return p.y.has_value(); }))
    chart.series.push_back(std::move(series));
}

bool any_point(const AttackGroup& group, bool (*holds)(const PointRecord&)) {
  return std::ranges::any_of(group.items, [&](const auto& item) {
    return std::ranges::any_of(item.second->points, holds);
  });
}

std::vector<size_t> shown_rows(size_t n, size_t most) {
  std::vector<size_t> rows;
  const size_t shown = std::min(n, most);
  for (size_t i = 0; i < shown; ++i) rows.push_back(shown < 2 ? 0 : i * (n - 1) / (shown - 1));
  return rows;
}

Table cross_table(std::string caption, const std::vector<std::string>& rows,
                  const std::vector<std::string>& columns,
                  const std::vector<std::vector<std::string>>& cells) {
  Table t{.caption = std::move(caption), .head = {""}};
  const bool turned = columns.size() > rows.size() && columns.size() > 7;
  const auto& down = turned ? columns : rows;
  const auto& across = turned ? rows : columns;
  t.head.insert(t.head.end(), across.begin(), across.end());
  for (size_t i = 0; i < down.size(); ++i) {
    t.rows.push_back({down[i]});
    for (size_t j = 0; j < across.size(); ++j)
      t.rows.back().push_back(turned ? cells[j][i] : cells[i][j]);
  }
  return t;
}

std::string PageWriter::label(size_t pool, const std::string& what) const {
  if (!several()) return what;
  return data_.pools[pool].label + (what.empty() ? "" : " ") + what;
}

std::string PageWriter::legend(const std::string& svgs, bool with_forgers) const {
  using Line = Series::Line;
  std::string out = "<p class=\"legend\">";
  if (several())
    for (size_t i = 0; i < data_.pools.size(); ++i)
      out += fmt::format("<span>{} {}</span>", swatch(i), html(data_.pools[i].label));
  const size_t colour = several() ? 6 : 0;
  out += fmt::format("<span>{} public branch</span><span>{} owner's passport</span>",
                     swatch(colour, Line::kSolid, several()),
                     swatch(colour, Line::kDashed, several()));
  if (with_forgers)
    out += fmt::format("<span>{} forger</span>", swatch(colour, Line::kDotted, several()));
  if (svgs.find("class=\"band") != std::string::npos)
    out += svgs.find("log2 p") == std::string::npos
               ? "<span>shaded: 95% intervals</span>"
               : "<span>shaded: 95% intervals, of log2 p from the least to the most</span>";
  return out + "</p>\n";
}

std::string PageWriter::svg(const Chart& chart) {
  return draw(chart, fmt::format("chart{}", ++charts_));
}
std::string PageWriter::svg(const Histogram& histogram) {
  return draw(histogram, fmt::format("chart{}", ++charts_));
}

std::string PageWriter::figure(const std::string& svgs, const std::string& caption, bool odd) {
  return fmt::format("<figure{}>\n{}<figcaption><b>Figure {}.</b> {}</figcaption>\n</figure>\n",
                     odd ? " class=\"odd\"" : "", svgs, ++figures_, caption);
}

std::string PageWriter::table(const Table& t) {
  std::string out = fmt::format(
      "<div class=\"table\"><table{}>\n<caption><b>Table {}.</b> {}</caption>\n<thead><tr>",
      t.classes.empty() ? "" : " class=\"" + t.classes + "\"", ++tables_, html(t.caption, 1000));
  const auto left = [&](size_t column) {
    return column < t.left || (t.last_left && column + 1 == t.head.size());
  };
  for (size_t i = 0; i < t.head.size(); ++i)
    out += fmt::format("<th scope=\"col\"{}>{}</th>", left(i) ? " class=\"left\"" : "",
                       html(t.head[i]));
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : t.rows) {
    out += "<tr>";
    for (size_t i = 0; i < row.size(); ++i)
      out += i == 0 ? fmt::format("<th scope=\"row\">{}</th>", html(row[i]))
                    : fmt::format("<td{}>{}</td>", left(i) ? " class=\"left\"" : "",
                                  html(row[i], kMostCell));
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace passnorm::cli
