#include "cli/chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace passnorm::cli {
namespace {

// Units of the drawing; the page scales it.
constexpr double kWidth = 460, kHeight = 236, kLeft = 44, kRight = 112, kTop = 26, kBottom = 36;
constexpr double kLabelGap = 11.5;  // between the labels of lines
constexpr size_t kMostMarkers = 26;
constexpr size_t kLabelLength = 21;

/// A coordinate.
std::string at(double v) {
  std::string text = fmt::format("{:.1f}", v);
  return text == "-0.0" ? "0.0" : text;
}

class Plot {
 public:
  Plot(const Axis& x, const Axis& y) : x_(x), y_(y) {}
  double x(double v) const {
    const double range = x_.most - x_.least;
    return kLeft + (range > 0 ? (v - x_.least) / range : 0.5) * (kWidth - kLeft - kRight);
  }
  double y(double v) const {
    const double range = y_.most - y_.least;
    return kHeight - kBottom -
           (range > 0 ? std::clamp((v - y_.least) / range, 0.0, 1.0) : 0.5) *
               (kHeight - kTop - kBottom);
  }
  static double right() { return kWidth - kRight; }
  static double bottom() { return kHeight - kBottom; }

 private:
  const Axis &x_, &y_;
};

std::string colour_class(size_t colour, bool grey) {
  return grey ? "kg" : fmt::format("k{}", colour % 7);
}

std::string text_at(double x, double y, std::string_view anchor, std::string_view classes,
                    const std::string& escaped) {
  return fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n", at(x),
                     at(y), anchor, classes, escaped);
}

std::string line(double x1, double y1, double x2, double y2, std::string_view classes) {
  return fmt::format("<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" class=\"{}\"/>\n", at(x1),
                     at(y1), at(x2), at(y2), classes);
}

/// One shape for each colour, so that lines differ in grey print too.
std::string marker(double x, double y, const Series& s, const std::string& inside) {
  const std::string classes = fmt::format("m {}{}", colour_class(s.colour, s.grey),
                                          s.line == Series::Line::kSolid ? "" : " hollow");
  const auto polygon = [&](std::initializer_list<std::pair<double, double>> corners) {
    std::string points;
    for (const auto& [dx, dy] : corners)
      points += (points.empty() ? "" : " ") + at(x + dx) + "," + at(y + dy);
    return fmt::format("<polygon points=\"{}\" class=\"{}\">{}</polygon>\n", points, classes,
                       inside);
  };
  switch (s.grey ? 0 : s.colour % 7) {
    case 1:
      return polygon({{-2.4, -2.4}, {2.4, -2.4}, {2.4, 2.4}, {-2.4, 2.4}});
    case 2:
      return polygon({{0, -3.3}, {3.3, 0}, {0, 3.3}, {-3.3, 0}});
    case 3:
      return polygon({{0, -3.2}, {3, 2.4}, {-3, 2.4}});
    case 4:
      return polygon({{0, 3.2}, {3, -2.4}, {-3, -2.4}});
    case 5:
      return polygon({{-3.2, 0}, {2.4, -3}, {2.4, 3}});
    case 6:
      return polygon({{3.2, 0}, {-2.4, -3}, {-2.4, 3}});
    default:
      return fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"2.6\" class=\"{}\">{}</circle>\n", at(x),
                         at(y), classes, inside);
  }
}

std::string_view line_class(Series::Line l) {
  switch (l) {
    case Series::Line::kSolid:
      return "";
    case Series::Line::kDashed:
      return " dashed";
    case Series::Line::kDotted:
      return " dotted";
  }
  return "";
}

std::string number(double v) { return fmt::format("{:.6g}", v == 0 ? 0.0 : v); }

/// The intervals of neighbouring points, shaded.
std::string draw_band(const Series& s, const Plot& plot) {
  std::string out;
  const auto has_interval = [](const Series::Point& p) { return p.y && p.y->interval; };
  for (auto from = s.points.begin(); from != s.points.end();) {
    from = std::find_if(from, s.points.end(), has_interval);
    const auto to = std::find_if_not(from, s.points.end(), has_interval);
    std::string upper, lower;
    for (auto p = from; p != to; ++p) {
      upper += (p == from ? "M" : "L") + at(plot.x(p->x)) + " " + at(plot.y(p->y->interval->high));
      lower = "L" + at(plot.x(p->x)) + " " + at(plot.y(p->y->interval->low)) + lower;
    }
    if (to - from > 1)
      out += fmt::format("<path d=\"{}{}Z\" class=\"band {}\"/>\n", upper, lower,
                         colour_class(s.colour, s.grey));
    from = to;
  }
  return out;
}

std::string interval_text(const Measured& y) {
  return y.interval ? fmt::format(" ({} to {})", number(y.interval->low), number(y.interval->high))
                    : "";
}

/// The line of a series, with gaps, and its markers.
std::string draw_series(const Series& s, const Plot& plot) {
  std::string path, markers;
  bool drawn = false;
  const bool marked = !s.thin && s.points.size() <= kMostMarkers;
  for (const Series::Point& p : s.points) {
    if (!p.y) {
      drawn = false;
      continue;
    }
    const double y = plot.y(p.y->value);
    path += (drawn ? "L" : "M") + at(plot.x(p.x)) + " " + at(y);
    drawn = true;
    if (marked)
      markers += marker(
          plot.x(p.x), y, s,
          fmt::format("<title>{}{}{}, {}{}</title>", html(s.label), s.label.empty() ? "" : ": ",
                      number(p.x), number(p.y->value), interval_text(*p.y)));
  }
  if (path.empty()) return {};
  return fmt::format("<path d=\"{}\" class=\"l {}{}{}\"/>\n", path, colour_class(s.colour, s.grey),
                     line_class(s.line), s.thin ? " thin" : "") +
         markers;
}

struct Label {
  double y;
  const Series* series;
};

/// Labels at the right of the plot, moved apart. Where they are too many for its height only solid
/// lines have theirs.
std::string draw_labels(const std::vector<Series>& series, const Plot& plot) {
  std::vector<Label> labels;
  for (const Series& s : series)
    if (const auto last = std::ranges::find_if(s.points.rbegin(), s.points.rend(),
                                               [](const auto& p) { return p.y.has_value(); });
        last != s.points.rend() && !s.label.empty())
      labels.push_back({plot.y(last->y->value), &s});
  const double height = Plot::bottom() + 2 - kTop;
  const auto gaps = [&] { return static_cast<double>(labels.size()) - 1; };
  if (gaps() * kLabelGap > height)
    std::erase_if(labels, [](const Label& l) { return l.series->line != Series::Line::kSolid; });
  const double gap = std::min(kLabelGap, height / std::max(1.0, gaps()));
  std::ranges::stable_sort(labels, {}, &Label::y);
  for (size_t i = 1; i < labels.size(); ++i)
    labels[i].y = std::max(labels[i].y, labels[i - 1].y + gap);
  double limit = Plot::bottom() + 2;
  for (size_t i = labels.size(); i-- > 0;) {
    labels[i].y = std::min(labels[i].y, limit);
    limit = labels[i].y - gap;
  }
  std::string out;
  for (const Label& l : labels)
    out += text_at(Plot::right() + 8, l.y + 3.4, "start",
                   "t " + colour_class(l.series->colour, l.series->grey),
                   html(l.series->label, kLabelLength));
  return out;
}

std::string draw_axes(const Axis& x, const Axis& y, const Plot& plot) {
  std::string out;
  for (const Axis::Tick& t : y.ticks) {
    out += line(kLeft, plot.y(t.at), Plot::right(), plot.y(t.at), "grid");
    out += text_at(kLeft - 6, plot.y(t.at) + 3.4, "end", "t soft", html(t.text));
  }
  for (const Axis::Tick& t : x.ticks) {
    out += line(plot.x(t.at), Plot::bottom(), plot.x(t.at), Plot::bottom() + 3.5, "axis");
    out += text_at(plot.x(t.at), Plot::bottom() + 14, "middle", "t soft", html(t.text));
  }
  out += line(kLeft, Plot::bottom(), Plot::right(), Plot::bottom(), "axis");
  out += text_at((kLeft + Plot::right()) / 2, kHeight - 6, "middle", "t", html(x.label, 70));
  return out;
}

std::string open_svg(const std::string& id, const std::string& title,
                     const std::string& description) {
  return fmt::format(
             "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{}-t {}-d\">\n"
             "<title id=\"{}-t\">{}</title><desc id=\"{}-d\">{}</desc>\n",
             kWidth, kHeight, id, id, id, html(title), id, html(description, 4000)) +
         text_at(0, 12, "start", "t head", html(title, 90));
}

}  // namespace

const std::string_view kChartStyle = R"(
:root { --k0:#0072b2; --k1:#d55e00; --k2:#009e73; --k3:#cc79a7; --k4:#e69f00; --k5:#56b4e9; --k6:#000;
  --ink:#1b1b1b; --soft:#5c5c5c; --grid:#e3e3e3; --page:#fff; --kg:#8a8a8a; }
@media screen and (prefers-color-scheme: dark) { :root { --k0:#56b4e9; --k1:#d55e00; --k2:#009e73;
  --k3:#cc79a7; --k4:#e69f00; --k5:#f0e442; --k6:#fff; --ink:#e6e6e6; --soft:#a5a5a5; --grid:#34373c;
  --page:#15171a; --kg:#8f8f8f; } }
svg { display:block; width:100%; height:auto; overflow:visible; }
svg .t { font:9.6px ui-sans-serif, system-ui, "Helvetica Neue", Arial, sans-serif; fill:var(--ink);
  font-variant-numeric:tabular-nums; }
svg .head { font-weight:600; font-size:11px; }
svg .soft { fill:var(--soft); }
svg .halo { paint-order:stroke; stroke:var(--page); stroke-width:3px; stroke-linejoin:round; }
svg .grid { stroke:var(--grid); stroke-width:.6; }
svg .axis { stroke:var(--ink); stroke-width:.7; }
svg .ref { stroke:var(--soft); stroke-width:.8; stroke-dasharray:1.5 2.5; }
svg .l { fill:none; stroke:var(--c); stroke-width:1.7; stroke-linejoin:round; stroke-linecap:round; }
svg .thin { stroke-width:.8; opacity:.45; }
svg .band { fill:var(--c); opacity:.16; }
svg .dashed { stroke-dasharray:5 3.5; }
svg .dotted { stroke-dasharray:.1 3.6; stroke-width:2; }
svg .m { fill:var(--c); stroke:var(--c); stroke-width:.9; }
svg .m.hollow { fill:var(--page); }
svg .bar { fill:var(--c); opacity:.8; }
svg text.k0 { fill:var(--k0); } svg text.k1 { fill:var(--k1); } svg text.k2 { fill:var(--k2); }
svg text.kg { fill:var(--soft); }
.k0 { --c:var(--k0); } .k1 { --c:var(--k1); } .k2 { --c:var(--k2); } .k3 { --c:var(--k3); }
.k4 { --c:var(--k4); } .k5 { --c:var(--k5); } .k6 { --c:var(--k6); } .kg { --c:var(--kg); }
)";

std::string html(std::string_view text, size_t limit) {
  std::string out;
  if (text.size() > limit) {
    size_t end = limit;  // not inside a character
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    return html(text.substr(0, end), limit) + "\xe2\x80\xa6";
  }
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
          out += c == '\n' || c == '\t' ? " " : "\xef\xbf\xbd";  // U+FFFD
        else
          out += c;
    }
  return out;
}

Axis linear_axis(std::string label, double least, double most) {
  // Equal, or so near each other that sums with a step between them round to nothing.
  if (!(most - least > 1e-9 * std::max(std::abs(least), std::abs(most)))) {
    least -= 0.5;
    most = least + 1;
  }
  Axis axis{.label = std::move(label), .least = least, .most = most};
  const double rough = (most - least) / 5, power = std::pow(10, std::floor(std::log10(rough)));
  const double leading = rough / power - 1e-9;  // 0.3 / 0.1 is more than 3
  const double step = power * (leading <= 1 ? 1 : leading <= 2 ? 2 : leading <= 5 ? 5 : 10);
  const double slack = 1e-9 * (most - least);
  for (double i = std::ceil((least - slack) / step); i * step <= most + slack; ++i)
    axis.ticks.push_back({i * step, number(i * step)});
  return axis;
}

Axis percent_axis(std::string label) {
  Axis axis{.label = std::move(label)};
  for (int i = 0; i <= 100; i += 25) axis.ticks.push_back({i / 100.0, fmt::format("{}%", i)});
  return axis;
}

Axis ordinal_axis(std::string label, const std::vector<std::string>& places) {
  Axis axis{.label = std::move(label),
            .least = 0,
            .most = std::max(1.0, static_cast<double>(places.size()) - 1)};
  const size_t every = (places.size() + 11) / 12;  // so that they do not touch
  for (size_t i = 0; i < places.size(); i += std::max<size_t>(every, 1))
    axis.ticks.push_back({static_cast<double>(i), places[i]});
  return axis;
}

std::string draw(const Chart& chart, const std::string& id) {
  const Plot plot(chart.x, chart.y);
  std::string out =
      open_svg(id, chart.title, chart.description) + draw_axes(chart.x, chart.y, plot);
  for (const Reference& r : chart.references) {
    out += line(kLeft, plot.y(r.y), Plot::right(), plot.y(r.y), "ref");
    out += text_at(kLeft + 4, plot.y(r.y) - 3, "start", "t soft halo", html(r.label, 60));
  }
  for (const Series& s : chart.series) out += draw_band(s, plot);
  for (const bool thin : {true, false})
    for (const Series& s : chart.series)
      if (s.thin == thin) out += draw_series(s, plot);
  return out + draw_labels(chart.series, plot) + "</svg>\n";
}

std::string draw(const Histogram& h, const std::string& id) {
  const int64_t most = h.counts.empty() ? 0 : *std::ranges::max_element(h.counts);
  const Axis x = percent_axis(h.x_label);
  // With room for the labels of marks above the bars.
  Axis y = linear_axis("", 0, 1.2 * std::max(1.0, static_cast<double>(most)));
  std::erase_if(y.ticks, [](const auto& t) { return t.at != std::floor(t.at); });  // of counts
  const Plot plot(x, y);
  std::string out = open_svg(id, h.title, h.description) + draw_axes(x, y, plot);
  const auto parts = static_cast<double>(h.counts.size());
  for (size_t i = 0; i < h.counts.size(); ++i) {
    const double from = static_cast<double>(i) / parts, to = static_cast<double>(i + 1) / parts;
    const double top = plot.y(static_cast<double>(h.counts[i]));
    if (h.counts[i] > 0)
      out += fmt::format(
          "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"bar k{}\">"
          "<title>{} passport{} from {:.4g}% to {:.4g}%</title></rect>\n",
          at(plot.x(from) + 0.6), at(top), at(plot.x(to) - plot.x(from) - 1.2),
          at(Plot::bottom() - top), h.colour % 7, h.counts[i], h.counts[i] == 1 ? "" : "s",
          100 * from, 100 * to);
  }
  for (const Histogram::Mark& m : h.marks)
    out += line(plot.x(m.x), kTop, plot.x(m.x), Plot::bottom(), "axis");
  double label_at = kTop + 4;
  for (const Histogram::Mark& m : h.marks) {
    const bool leftwards = m.x > 0.5;
    out += text_at(plot.x(m.x) + (leftwards ? -4 : 4), label_at, leftwards ? "end" : "start",
                   "t halo", html(m.label, 60));
    label_at += kLabelGap;
  }
  return out + "</svg>\n";
}

std::string swatch(size_t colour, Series::Line l, bool grey) {
  const Series s{.colour = colour, .line = l, .grey = grey};
  return fmt::format(
             "<svg class=\"swatch\" viewBox=\"0 0 30 10\" aria-hidden=\"true\"><path d=\"M1 5L29 "
             "5\" class=\"l {}{}\"/>",
             colour_class(colour, grey), line_class(l)) +
         marker(15, 5, s, "") + "</svg>";
}

}  // namespace passnorm::cli
