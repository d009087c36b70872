#include "cli/help.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "engine/io/text.hpp"

namespace passnorm::cli {
namespace {

constexpr size_t kWidth = 80;
constexpr size_t kLeft = 27;  // where descriptions start

/// The words of a command; what stands in single quotes is one, an option and its value too.
std::vector<std::string> command_words(const std::string& text) {
  std::vector<std::string> words;
  bool quoted = false, in_word = false;
  for (const char c : text) {
    if (c == '\'') quoted = !quoted;
    if (c == ' ' && !quoted) {
      in_word = false;
      continue;
    }
    if (!in_word) {
      const bool value = !words.empty() && words.back().starts_with("--") && c != '-' &&
                         words.back().find(' ') == std::string::npos;
      if (value)
        words.back() += ' ';
      else
        words.emplace_back();
    }
    in_word = true;
    words.back() += c;
  }
  return words;
}

/// `joint` ends every line but the last.
std::string wrap(const std::vector<std::string>& words, size_t used, size_t indent,
                 std::string_view joint = "") {
  std::string out;
  size_t column = used;
  bool first = true;
  for (const std::string& word : words) {
    if (!first && column + 1 + word.size() + joint.size() > kWidth) {
      out += fmt::format("{}\n{:{}}", joint, "", indent);
      column = indent;
    } else if (!first) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    first = false;
  }
  return out;
}

/// A name, and what it is in the column beside.
std::string row(const std::string& left, const std::string& text) {
  std::string out = "  " + left;
  if (out.size() + 1 >= kLeft)
    out += fmt::format("\n{:{}}", "", kLeft);
  else
    out += std::string(kLeft - out.size(), ' ');
  return out + wrapped(text, kLeft, kLeft) + "\n";
}

/// What a value is, as the option declares it. What CLI11 checks stands behind a colon, outside all
/// brackets.
std::string value_name(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  int depth = 0;
  for (size_t i = 0; i < type.size(); ++i) {
    depth += (type[i] == '[') - (type[i] == ']');
    if (type[i] == ':' && depth == 0) return type.substr(0, i);
  }
  return type;
}

/// An argument without an option's name is called by what it is.
std::string argument_name(const CLI::Option& option) {
  const bool several = option.get_expected_max() >= CLI::detail::expected_max_vector_size;
  return value_name(option) + (several ? "..." : "");
}

/// The innermost command that was named.
const CLI::App& named(const CLI::App& app) {
  const auto given = app.get_subcommands();
  return given.empty() ? app : named(*given[0]);
}

std::string with_nearest(const std::string& what, const std::string& word,
                         const std::vector<std::string>& known) {
  const std::vector<std::string_view> names(known.begin(), known.end());
  const std::string_view near = nearest(word, names);
  return what + " " + quote(word) + (near.empty() ? "" : fmt::format("; did you mean {}?", near));
}

}  // namespace

std::string wrapped(const std::string& text, size_t used, size_t indent) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return wrap(words, used, indent);
}

HelpFormatter::HelpFormatter() {
  label("SUBCOMMAND", "COMMAND");
  label("Positionals", "Arguments");
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string name,
                                     CLI::AppFormatMode mode) const {
  name = name.substr(name.rfind('/') + 1);
  std::string text = CLI::Formatter::make_help(app, std::move(name), mode);
  for (size_t at; (at = text.find("\n\n\n")) != std::string::npos;) text.erase(at, 1);
  return text;
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  std::string left = is_positional ? argument_name(*option) : std::string();
  for (const std::string& name : option->get_lnames()) {
    const bool opposite =
        std::ranges::find(option->get_fnames(), name) != option->get_fnames().end();
    if (!opposite) left = (option->get_fnames().empty() ? "--" : "--[no-]") + name;
  }
  if (const std::string value = value_name(*option);
      !is_positional && option->get_type_size() != 0 && !value.empty())
    left += " " + value;
  std::string text = option->get_description();
  if (!option->get_default_str().empty()) text += " [" + option->get_default_str() + "]";
  if (option->get_required()) text += " (required)";
  return row(left, text);
}

std::string HelpFormatter::make_option_usage(const CLI::Option* option) const {
  const std::string name = argument_name(*option);
  return option->get_required() ? name : "[" + name + "]";
}

std::string HelpFormatter::make_group(std::string group, bool is_positional,
                                      std::vector<const CLI::Option*> options) const {
  std::string out = "\n" + group + ":\n";
  for (const CLI::Option* option : options) out += make_option(option, is_positional);
  return out;
}

std::string HelpFormatter::make_subcommand(const CLI::App* sub) const {
  return fmt::format("  {:<9} {}\n", sub->get_name(), wrapped(sub->get_description(), 12, 12));
}

std::string HelpFormatter::make_description(const CLI::App* app) const {
  return wrapped(app->get_description(), 0, 0) + "\n\n";
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  std::string text = app->get_footer(), out;
  for (size_t at; (at = text.find("\\\n")) != std::string::npos;) text.replace(at, 2, " ");
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.size() <= kWidth) {
      out += line + "\n";
      continue;
    }
    const size_t blanks = line.find_first_not_of(' ');
    const size_t command = line.find("passnorm ");
    if (command > sizeof "Examples: ")
      out += std::string(blanks, ' ') + wrapped(line, blanks, blanks) + "\n";
    else
      out += line.substr(0, command) +
             wrap(command_words(line.substr(command)), command, command + 2, " \\") + "\n";
  }
  return out;
}

std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = named(app);
  std::string what = error.what();
  const auto left = command.remaining();
  const auto commands = command.get_subcommands([](const CLI::App*) { return true; });
  if (!left.empty() && left[0].starts_with("-")) {
    const std::string word = left[0].substr(0, left[0].find('='));
    std::vector<std::string> known;
    for (const CLI::Option* option : command.get_options())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    what = with_nearest("unknown option", word, known);
  } else if (!left.empty() && !commands.empty()) {
    std::vector<std::string> known;
    for (const CLI::App* sub : commands) known.push_back(sub->get_name());
    what = with_nearest("unknown command", left[0], known);
  } else if (!left.empty()) {
    what = "unexpected argument " + quote(left[0]);
  } else if (!commands.empty() && command.get_subcommands().empty()) {
    what = "a command is missing";
  } else if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    for (const CLI::Option* option : command.get_options())
      if (option->get_positional() && what.starts_with(option->get_single_name() + " is"))
        what = argument_name(*option) + " is required";
  } else if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const size_t flag = what.find(" was given a disallowed flag override");
    what = flag == std::string::npos ? what.substr(0, what.find(':')) + " needs a value"
                                     : "--" + what.substr(0, flag) + " takes no value";
  }
  std::string help = "passnorm";
  for (const CLI::App* at = &app; at != &command;) {
    at = at->get_subcommands()[0];
    help += " " + at->get_name();
  }
  return fmt::format("{} ({} --help tells more)", what, help);
}

}  // namespace passnorm::cli
