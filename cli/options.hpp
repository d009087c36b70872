// The table of a command's options. An option is declared once, with its type, range and help, and
// takes its value from the command line, else the environment (PASSNORM_ and its name in capitals
// with _ for -), else a TOML file, else its default: always through the same check.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/config.hpp"

namespace passnorm::cli {

/// One option of a command.
struct Setting {
  enum class Type { kText, kInteger, kNumber, kFlag };
  /// What may set it. kCall: the command line alone, because it belongs to this one call or is
  /// secret. kFile: also a file. kAny: also the environment.
  enum class Reach { kCall, kFile, kAny };
  enum class Source { kDefault, kFile, kEnvironment, kCommandLine };

  std::string name;  ///< without --
  Type type = Type::kText;
  std::string expected;  ///< "an integer from 1 to 2147483648"
  Reach reach = Reach::kAny;
  /// It does not change what a run computes: a continued run may be given another value.
  bool harmless = false;
  bool recorded = true;              ///< stands in toml()
  std::optional<std::string> given;  ///< on the command line
  Source source = Source::kDefault;
  std::string origin;  ///< of a file's value: FILE:line:column

  /// Takes a value; false when it is not what is expected, Error(kUsage) that says more.
  std::function<bool(const std::string&)> set;
  std::function<std::string()> toml;  ///< the value as TOML; empty while it has none
  CLI::Option* option = nullptr;

  std::string variable() const;  ///< PASSNORM_NAME
  /// The changes that declarations are followed by.
  Setting& only(Reach r) { return reach = r, *this; }
  Setting& changes_nothing() { return harmless = true, *this; }
  /// For commands that read the command line alone; elsewhere OptionTable::require.
  Setting& required() { return option->required(), *this; }
  Setting& not_recorded() { return recorded = false, *this; }
};

inline constexpr int64_t kMany = int64_t{1} << 31;  ///< the largest count that makes sense

/// Throws Error(kUsage) on a value that must not be.
using Check = std::function<void(const std::string&)>;

class OptionTable {
 public:
  /// The table of `command`, which must live as long.
  explicit OptionTable(CLI::App& command) : command_(&command) {}

  /// The heading in --help of what is added next.
  void group(std::string heading) { group_ = std::move(heading); }

  /// UTF-8 without control characters, so that it fits into a file and a line.
  Setting& text(const char* name, std::string& to, const char* help, const char* type,
                Check check = {});
  /// --help names the values before the help.
  Setting& choice(const char* name, std::string& to, std::vector<std::string> values,
                  const char* help);
  Setting& integer(const char* name, int64_t& to, const char* help, int64_t least, int64_t most);
  Setting& integer(const char* name, uint64_t& to, const char* help, int64_t least, int64_t most);
  Setting& integer(const char* name, int& to, const char* help, int64_t least, int64_t most);
  Setting& integer(const char* name, std::optional<uint64_t>& to, const char* help, int64_t least,
                   int64_t most);
  /// Finite; no negative zero.
  Setting& number(const char* name, float& to, const char* help, int64_t least, int64_t most);
  /// --name, and --no-name against a file that says otherwise.
  Setting& flag(const char* name, bool& to, const char* help);
  /// A flag of this call only.
  Setting& call_flag(const char* name, bool& to, const char* help);

  /// After the command line was read: fills what it left open from the environment and the file.
  /// file: what parse_config returned. Error(kUsage), one line that tells where the value stands.
  void complete(std::span<const Assignment> file);
  /// The same for a run that is continued: `file` are its settings, and nothing else but harmless
  /// ones may differ from them.
  void complete_continued(std::span<const Assignment> file);

  /// The file alone.
  void complete_from_file(std::span<const Assignment> file);

  /// A file that gives all values back, but for those of this call. Without the harmless ones: what
  /// determines a run's results.
  std::string toml() const { return toml(false); }
  std::string toml_of_results() const { return toml(true); }

  /// For commands that read no file: the environment, once the command is named; its command line
  /// comes after it. For one table of a command.
  void from_environment() const;

  const std::vector<std::shared_ptr<Setting>>& settings() const { return settings_; }
  const Setting& operator[](std::string_view name) const;
  /// Error(kUsage) when nothing has set it.
  void require(std::string_view name) const;

 private:
  Setting& add(Setting setting, const char* help, const char* type, std::string shown_default);
  template <class T>
  Setting& add_integer(const char* name, T& to, const char* help, int64_t least, int64_t most);
  void take(const Assignment& assignment);
  std::string toml(bool without_harmless) const;

  CLI::App* command_;
  std::string group_ = "Options";
  std::vector<std::shared_ptr<Setting>> settings_;  ///< the command's callbacks share them
};

/// Error(kUsage) for a variable of `environment` (NAME=VALUE, ended by null) that begins with
/// PASSNORM_ and is almost an option's, or one's that may not be set so. Others are left alone:
/// PASSNORM_DATA, PASSNORM_PROGRAM and PASSNORM_GOLDEN_DIR belong to the tests.
void check_environment(const OptionTable& options, char* const* environment);

}  // namespace passnorm::cli
