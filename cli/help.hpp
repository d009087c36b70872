// What --help prints, in 80 columns, and what is said of words that nobody knows.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace passnorm::cli {

/// Descriptions are wrapped; examples are wrapped with a backslash, so that they can be pasted.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_option_usage(const CLI::Option* option) const override;
  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override;
  std::string make_subcommand(const CLI::App* sub) const override;
  std::string make_description(const CLI::App* app) const override;
  std::string make_footer(const CLI::App* app) const override;
};

/// Words of `text` in lines of at most 80 columns. The first line stands behind `used` columns, the
/// others behind `indent` blanks.
std::string wrapped(const std::string& text, size_t used, size_t indent);

/// One line: what was wrong with the command line, the nearest known name, and which --help helps.
std::string explain(const CLI::App& app, const CLI::ParseError& error);

}  // namespace passnorm::cli
