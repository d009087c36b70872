// Pieces of the report's page.
#pragma once

#include <string>
#include <vector>

#include "cli/chart.hpp"
#include "cli/report_summary.hpp"

namespace passnorm::cli {

/// A table of plain text. A column is aligned to the left when `left` says so, else to the right.
struct Table {
  std::string caption;
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
  size_t left = 1;  ///< columns from the first on
  bool last_left = false;
  std::string classes = {};
};

/// Rows and columns by name; the longer side becomes the rows.
Table cross_table(std::string caption, const std::vector<std::string>& rows,
                  const std::vector<std::string>& columns,
                  const std::vector<std::vector<std::string>>& cells);

/// a, b, c
std::string joined(const std::vector<std::string>& parts, std::string_view between);

/// Unless it has no value.
void add(Chart& chart, Series series);

bool any_point(const AttackGroup& group, bool (*holds)(const PointRecord&));

/// CSS of the page, beside kChartStyle.
extern const std::string_view kPageStyle;

/// What a page counts, and the sections that its files write.
class PageWriter {
 public:
  explicit PageWriter(const ReportData& data) : data_(data), groups_(groups(data)) {}

  std::string page();

 private:
  // report_page.cpp
  std::string title() const, subtitle() const;
  std::string networks();
  std::string training();
  std::string training_tables();
  std::string reading() const;
  std::string settings();
  std::string missing() const;

  // report_published.cpp
  std::string published();

  // report_attacks.cpp
  std::string attacks();
  std::string section(const AttackGroup& group);
  std::string counts(const AttackGroup& group);
  std::string strangers();

  // report_tables.cpp
  std::string at_a_glance();
  std::string points_table(const AttackGroup& group);
  std::string sites_tables(const AttackGroup& group);
  std::string metrics_tables(const AttackGroup& group);
  std::string forgers();

  bool several() const { return data_.pools.size() > 1; }
  /// The label of a series: the pool's where there are several, and what it is.
  std::string label(size_t pool, const std::string& what) const;
  /// Which colour and line is what in these charts.
  std::string legend(const std::string& svgs, bool forgers) const;
  std::string svg(const Chart& chart);
  std::string svg(const Histogram& histogram);
  /// caption: HTML. odd: of the two columns of panels one is free, and takes the caption.
  std::string figure(const std::string& svgs, const std::string& caption, bool odd);
  std::string table(const Table& table);

  const ReportData& data_;
  std::vector<AttackGroup> groups_;
  int charts_ = 0, figures_ = 0, tables_ = 0;
};

/// One bar of a histogram among an attack's metrics: "own bits, 45-50%".
bool is_count(std::string_view metric);
/// 81.25%
std::string percent_text(double share);
/// 81.25% or -; with its interval 81.25% [80.47, 82.00]
std::string percent_text(const std::optional<Measured>& share, bool interval = false);
/// -256.0 or, of several, -250.5 [-256.0, -245.0]
std::string log2_text(const Measured& log2);
/// 256 / 256; with its interval 256 / 256 [98.57, 100.00]%
std::string bits_text(const ClaimRecord& claim, bool interval = false);
/// Five digits, of a whole number all; with its interval 0.125 [0.1, 0.15]
std::string number_text(const std::optional<Measured>& value);
/// Which of n rows a table shows when it may have `most`: evenly spread, the first and the last
/// among them.
std::vector<size_t> shown_rows(size_t n, size_t most);

inline constexpr size_t kMostRows = 12;

}  // namespace passnorm::cli
