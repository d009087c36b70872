// Runs the program that PASSNORM_PROGRAM names, as a user does.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/io/file.hpp"
#include "engine/io/json.hpp"
#include "tests/support/files.hpp"

namespace passnorm::test {

struct Finished {
  int code = -1;  ///< exit code; -1 when it ended by a signal
  std::string out, err;

  Json json() const { return parse_json("stdout", out); }
};

/// `out`: where its stdout goes instead of being read.
inline Finished passnorm(std::vector<std::string> arguments, const std::string& out = {}) {
  const char* program = std::getenv("PASSNORM_PROGRAM");
  if (program == nullptr) {
    ADD_FAILURE() << "PASSNORM_PROGRAM must name the program";
    return {};
  }
  const TemporaryFolder folder;
  const std::string paths[] = {out.empty() ? folder.path("out") : out, folder.path("err")};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int i : {0, 1})
    posix_spawn_file_actions_addopen(&actions, i + 1, paths[i].c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
  arguments.insert(arguments.begin(), program);
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    ADD_FAILURE() << program << " cannot be started";
    return {};
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  Finished result;
  if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
  if (out.empty()) result.out = text_of(read_file(paths[0], 1 << 24));
  result.err = text_of(read_file(paths[1], 1 << 24));
  return result;
}

/// Settings of a command; a later value of an option replaces the earlier one (the program takes
/// each once). An empty value stands for a flag.
using Settings = std::vector<std::pair<std::string, std::string>>;
inline std::vector<std::string> with(std::string command, Settings settings, const Settings& more) {
  for (const auto& [name, value] : more) {
    std::erase_if(settings, [&](const auto& s) { return s.first == name; });
    settings.emplace_back(name, value);
  }
  std::vector<std::string> arguments = {std::move(command)};
  for (const auto& [name, value] : settings) {
    arguments.push_back(name);
    if (!value.empty()) arguments.push_back(value);
  }
  return arguments;
}

/// A failure as every failure has to look: this code, nothing on stdout, and one line on stderr.
inline testing::AssertionResult fails_with(int code, const Finished& f) {
  const auto shown = [&] {
    return testing::AssertionFailure()
           << "exit " << f.code << ", stdout \"" << f.out << "\", stderr \"" << f.err << "\"";
  };
  if (f.code != code) return shown() << ": exit " << code << " was expected";
  if (!f.out.empty()) return shown() << ": stdout is for results";
  if (!f.err.starts_with("passnorm: ")) return shown() << ": does not start with passnorm:";
  if (std::ranges::count(f.err, '\n') != 1 || f.err.back() != '\n')
    return shown() << ": one line was expected";
  return testing::AssertionSuccess();
}

/// The keys of an object, in order.
inline std::vector<std::string> keys(const Json& json) {
  std::vector<std::string> out;
  for (const auto& [key, value] : json.items()) out.push_back(key);
  return out;
}

}  // namespace passnorm::test
