// Charts as SVG, to stand inside a page: colours, line weights and fonts are the page's style sheet
// (kChartStyle), so that a chart follows it into dark mode and onto paper.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/interval.hpp"

namespace passnorm::cli {

/// Text for HTML and SVG: markup and control characters made harmless, cut after `limit` bytes.
std::string html(std::string_view text, size_t limit = 400);

struct Axis {
  std::string label;
  double least = 0, most = 1;
  struct Tick {
    double at;
    std::string text;
  };
  std::vector<Tick> ticks;
};
/// From least to most, with ticks at 1, 2 or 5 times a power of ten.
Axis linear_axis(std::string label, double least, double most);
/// Shares from 0 to 1, in per cent.
Axis percent_axis(std::string label);
/// The named places 0, 1, 2, ..
Axis ordinal_axis(std::string label, const std::vector<std::string>& places);

struct Series {
  enum class Line { kSolid, kDashed, kDotted };
  struct Point {
    double x;
    std::optional<Measured> y;  ///< none: a gap; where it has an interval the line has a band
  };
  std::string label;  ///< beside the line's end; empty: none
  size_t colour = 0;  ///< of the palette; also picks the shape of markers
  Line line = Line::kSolid;
  bool thin = false;  ///< in the background, without markers
  bool grey = false;  ///< in the colour of what is not ours
  std::vector<Point> points;
};

/// A horizontal line to compare with.
struct Reference {
  double y;
  std::string label;
};

struct Chart {
  std::string title;        ///< above the chart: what is drawn, with its unit
  std::string description;  ///< for those who cannot see it
  Axis x, y;
  std::vector<Series> series;
  std::vector<Reference> references = {};
};
/// id: of its elements, unique in the page.
std::string draw(const Chart& chart, const std::string& id);

/// Numbers of passports in equal parts of [0, 1].
struct Histogram {
  std::string title, description, x_label;
  std::vector<int64_t> counts;
  size_t colour = 0;
  struct Mark {
    double x;
    std::string label;
  };
  std::vector<Mark> marks;  ///< vertical lines
};
std::string draw(const Histogram& histogram, const std::string& id);

/// A short piece of a series' line with its marker, for legends.
std::string swatch(size_t colour, Series::Line line = Series::Line::kSolid, bool grey = false);

/// CSS of all charts: the palette is Okabe and Ito's, which the colour-blind can tell apart
/// (https://jfly.uni-koeln.de/color/), in another order on a dark page.
extern const std::string_view kChartStyle;

}  // namespace passnorm::cli
