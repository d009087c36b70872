// Charts of the report's page.
#include "cli/chart.hpp"

#include <algorithm>

#include "tests/cli/report.hpp"

namespace passnorm::test {
namespace {

TEST(Chart, TextIsHarmless) {
  EXPECT_EQ(cli::html("a<b>\"c'&\x01\n"), "a&lt;b&gt;&quot;c&#39;&amp;\xef\xbf\xbd ");
  EXPECT_EQ(cli::html("\xc3\xa9\xc3\xa9", 3), "\xc3\xa9\xe2\x80\xa6");  // not inside a character
}

TEST(Chart, TicksAreRoundNumbers) {
  const auto ticks = [](double least, double most) {
    std::vector<std::string> texts;
    for (const auto& t : cli::linear_axis("", least, most).ticks) texts.push_back(t.text);
    return texts;
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(ticks(0, 1), (Texts{"0", "0.2", "0.4", "0.6", "0.8", "1"}));
  EXPECT_EQ(ticks(-252, 0), (Texts{"-200", "-100", "0"}));
  EXPECT_EQ(ticks(0, 100), (Texts{"0", "20", "40", "60", "80", "100"}));
  EXPECT_EQ(ticks(3, 3), (Texts{"2.6", "2.8", "3", "3.2", "3.4"}));
  EXPECT_LT(ticks(1e15, 1e15 + 0.25).size(), 10u);  // it ends
}

/// The numbers after `pattern` in `text`.
std::vector<double> numbers_after(const std::string& text, const std::string& pattern) {
  std::vector<double> out;
  const std::regex r(pattern + "([-0-9.]+)");
  for (std::sregex_iterator it(text.begin(), text.end(), r), end; it != end; ++it)
    out.push_back(std::stod((*it)[1]));
  return out;
}

TEST(Chart, PointsStandWhereTheirValuesAre) {
  cli::Chart chart{.title = "t", .x = cli::linear_axis("x", 0, 4), .y = cli::percent_axis("y")};
  chart.series.push_back({.label = "a", .points = {{0, 0.0}, {1, 1.0}, {2, {}}, {4, 0.5}}});
  const std::string svg = cli::draw(chart, "c");
  const auto x = numbers_after(svg, "cx=\""), y = numbers_after(svg, "cy=\"");
  ASSERT_EQ(x.size(), 3u);
  EXPECT_NEAR(x[1] - x[0], (x[2] - x[0]) / 4, 0.11);
  EXPECT_GT(y[0], y[1]);  // upwards
  EXPECT_NEAR(y[2], (y[0] + y[1]) / 2, 0.11);
  // A line ends before a gap and begins again behind it.
  const size_t path = svg.find("<path d=\"");
  const std::string d = svg.substr(path, svg.find('>', path) - path);
  EXPECT_EQ(std::ranges::count(d, 'M'), 2);
  EXPECT_EQ(std::ranges::count(d, 'L'), 1);
}

TEST(Chart, LabelsOfEqualLinesDoNotTouch) {
  cli::Chart chart{.title = "t", .x = cli::linear_axis("x", 0, 1), .y = cli::percent_axis("y")};
  for (const char* label : {"first", "second", "third", "fourth"})
    for (const double value : {0.0, 1.0})
      chart.series.push_back({.label = label, .points = {{0, value}, {1, value}}});
  const std::string svg = cli::draw(chart, "c");
  std::vector<double> y;
  for (const char* label : {"first", "second", "third", "fourth"}) {
    const auto at = numbers_after(svg, "<text x=\"356.0\" y=\"");
    y = at;
    EXPECT_CONTAINS(svg, concat(">", label, "<"));
  }
  ASSERT_EQ(y.size(), 8u);
  std::ranges::sort(y);
  for (size_t i = 1; i < y.size(); ++i) EXPECT_GT(y[i] - y[i - 1], 11);
  EXPECT_LT(y.back(), 236);
}

TEST(Chart, LabelsStayBesideThePlot) {
  using Line = cli::Series::Line;
  cli::Chart chart{.title = "t", .x = cli::linear_axis("x", 0, 1), .y = cli::percent_axis("y")};
  for (size_t i = 0; i < 7; ++i)
    for (const auto& [what, line] : {std::pair("public", Line::kSolid),
                                     {"passport", Line::kDashed},
                                     {"forger", Line::kDotted}})
      chart.series.push_back({.label = concat(i, " ", what),
                              .colour = i,
                              .line = line,
                              .points = {{0, 1.0}, {1, 1.0}}});
  // 21 do not fit: the dashed and dotted ones are the legend's.
  const std::string svg = cli::draw(chart, "c");
  std::vector<double> y = numbers_after(svg, "<text x=\"356.0\" y=\"");
  EXPECT_EQ(y.size(), 7u);
  EXPECT_CONTAINS(svg, ">6 public<");
  EXPECT_EQ(svg.find(">6 forger<"), std::string::npos);
  // However many there are, they stand between the title and the axis.
  for (size_t i = 0; i < 30; ++i)
    chart.series.push_back({.label = concat("more ", i), .points = {{0, 0.0}, {1, 0.0}}});
  y = numbers_after(cli::draw(chart, "c"), "<text x=\"356.0\" y=\"");
  ASSERT_EQ(y.size(), 37u);
  EXPECT_GT(std::ranges::min(y), 20);
  EXPECT_LT(std::ranges::max(y), 215);
}

TEST(Chart, CountsHaveWholeTicks) {
  const std::string svg = cli::draw(
      cli::Histogram{.title = "t", .description = "d", .x_label = "x", .counts = {0, 1, 2}}, "c");
  EXPECT_CONTAINS(svg, ">2</text>");
  EXPECT_EQ(svg.find(">0.5</text>"), std::string::npos);
  EXPECT_EQ(svg.find(">1.5</text>"), std::string::npos);
}

TEST(Chart, IntervalsAreShaded) {
  cli::Chart chart{.title = "t", .x = cli::linear_axis("x", 0, 3), .y = cli::percent_axis("y")};
  using cli::Interval;
  chart.series.push_back({.label = "a",
                          .points = {{0, {{0.5, Interval{0.25, 0.75}}}},
                                     {1, {{0.5, Interval{0.5, 1}}}},
                                     {2, 0.5},  // without: the band ends
                                     {3, {{0.5, Interval{0, 1}}}}}});
  const std::string svg = cli::draw(chart, "c");
  const size_t first = svg.find("class=\"band k0\"");
  ASSERT_NE(first, std::string::npos);
  EXPECT_EQ(svg.find("class=\"band", first + 1), std::string::npos) << "one point has no band";
  const size_t path = svg.rfind("<path d=\"", first);
  // Along the upper ends and back along the lower ones: 75%, 100%, 50%, 25% of the height.
  const auto x = numbers_after(svg.substr(path, first - path), "[ML]");
  const auto y = numbers_after(svg.substr(path, first - path), "[ML][0-9.]+ ");
  ASSERT_EQ(y.size(), 4u);
  EXPECT_EQ(x, (std::vector<double>{x[0], x[1], x[1], x[0]}));
  const double unit = y[3] - y[2];  // a quarter
  EXPECT_GT(unit, 10);
  EXPECT_NEAR(y[2] - y[0], unit, 0.11);
  EXPECT_NEAR(y[0] - y[1], unit, 0.11);
  EXPECT_CONTAINS(svg, "<title>a: 0, 0.5 (0.25 to 0.75)</title>");
  EXPECT_CONTAINS(svg, "<title>a: 2, 0.5</title>");
}

}  // namespace
}  // namespace passnorm::test
