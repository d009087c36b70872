// Runs the program that PASSNORM_PROGRAM names, as a user does.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/io/file.hpp"
#include "engine/io/json.hpp"
#include "tests/support/files.hpp"

namespace passnorm::test {

struct Finished {
  int code = -1;  ///< exit code; -1 when it ended by a signal
  int signal = 0;
  std::string out, err;

  Json json() const { return parse_json("stdout", out); }
};

/// The program while it runs. `out`, `err`: where stdout and stderr go instead of being read.
class Running {
 public:
  explicit Running(std::vector<std::string> arguments, const std::string& out = {},
                   const std::string& err = {})
      : read_out_(out.empty()), read_err_(err.empty()) {
    const char* program = std::getenv("PASSNORM_PROGRAM");
    if (program == nullptr) {
      ADD_FAILURE() << "PASSNORM_PROGRAM must name the program";
      return;
    }
    const std::string paths[] = {read_out_ ? folder_.path("out") : out,
                                 read_err_ ? folder_.path("err") : err};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (const int i : {0, 1})
      posix_spawn_file_actions_addopen(&actions, i + 1, paths[i].c_str(),
                                       O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, 0600);
    arguments.insert(arguments.begin(), program);
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    const int error = posix_spawn(&pid_, program, &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
      ADD_FAILURE() << program << " cannot be started";
      pid_ = 0;
    }
  }
  ~Running() {
    if (pid_ == 0) return;
    send(SIGKILL);
    wait();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  void send(int signal) const {
    if (pid_ > 0) ::kill(pid_, signal);
  }
  pid_t pid() const { return pid_; }
  /// Not yet ended (and not waited for).
  bool runs() {
    if (pid_ > 0 && !ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
    return pid_ > 0 && !ended_;
  }
  Finished wait() {
    Finished result;
    if (pid_ == 0) return result;
    while (!ended_ && waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    if (WIFEXITED(status_)) result.code = WEXITSTATUS(status_);
    if (WIFSIGNALED(status_)) result.signal = WTERMSIG(status_);
    if (read_out_) result.out = text_of(read_file(folder_.path("out"), 1 << 24));
    if (read_err_) result.err = text_of(read_file(folder_.path("err"), 1 << 24));
    return result;
  }

 private:
  TemporaryFolder folder_;
  bool read_out_, read_err_, ended_ = false;
  pid_t pid_ = 0;
  int status_ = 0;
};

inline Finished passnorm(std::vector<std::string> arguments, const std::string& out = {}) {
  return Running(std::move(arguments), out).wait();
}

/// Of the children that were waited for.
inline double processor_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr bool kOptimised = true;
#else
constexpr bool kOptimised = false;  ///< or under a sanitizer
#endif

/// An environment variable while this lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    const char* old = std::getenv(name);
    had_ = old != nullptr;
    if (had_) before_ = old;
    ::setenv(name, value, 1);
  }
  ~Variable() { had_ ? ::setenv(name_, before_.c_str(), 1) : ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  bool had_;
  std::string before_;
};

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
