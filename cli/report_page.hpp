// The page of a report, the JSON beside it, and its tables for other documents.
#pragma once

#include <string>
#include <string_view>

#include "cli/report_data.hpp"

namespace passnorm::cli {

/// How the three files begin: by this an earlier report is known, which is written over.
inline constexpr std::string_view kPageStart =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>";
inline constexpr std::string_view kDocumentStart = "{\n \"format\": \"passnorm.report/";
inline constexpr std::string_view kTablesStart = "<!-- passnorm report -->\n";

/// One HTML document without scripts and without anything from elsewhere: figures are inline SVG,
/// the numbers stand in tables beside them. The same data give the same bytes.
std::string report_page(const ReportData& data);

/// The same numbers, format passnorm.report/2:
///   runs       label, folders, network, settings, lines of metrics.jsonl (without times), the
///              claim of verify.json, and the documents of all attacks
///   networks   runs that differ in their seeds alone as one: means, counts and their intervals at
///              every point of every attack (of metrics that are called the best, the best)
///   intervals  what these are
///   summary    per attack and network: where the task still stands, the last point, the best
///              forger
///   published  figures and curves with mark and source, and ours beside them, with what is not of
///              the same setting
///   missing    what was not there
Json report_json(const ReportData& data);

/// The attacks as tables of Markdown, one for each network: before, then each attack at the
/// strengths that matter (up to the first at which the task is broken; of training the end), with
/// the owner's claim where the network changes and the forger's where there is one.
std::string report_markdown(const ReportData& data);

}  // namespace passnorm::cli
