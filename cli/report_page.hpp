// The page of a report and the JSON beside it.
#pragma once

#include <string>

#include "cli/report_data.hpp"

namespace passnorm::cli {

/// One HTML document without scripts and without anything from elsewhere: figures are inline SVG,
/// the numbers stand in tables beside them. The same data give the same bytes.
std::string report_page(const ReportData& data);

/// The same numbers, format passnorm.report/1:
///   runs       label, folders, network, settings, lines of metrics.jsonl (without times), the
///   claim
///              of verify.json, and the documents of all attacks
///   summary    per attack and run: where the task still stands, the last point, the best forger
///   published  figures and curves with mark and source, and ours beside them
///   missing    what was not there
Json report_json(const ReportData& data);

}  // namespace passnorm::cli
