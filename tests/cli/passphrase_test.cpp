// Passphrases from files, descriptors and a terminal, which is a real one: a pseudo-terminal with
// the program of the test as its session.
#include "cli/passphrase.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "tests/support/files.hpp"

namespace passnorm::cli {
namespace {

using test::refusal;
using test::TemporaryFolder;

/// The argument as a command line sets it.
class Parsed {
 public:
  explicit Parsed(std::vector<std::string> arguments) {
    argument.add_to(app_);
    std::ranges::reverse(arguments);  // as CLI11 takes them
    app_.parse(arguments);
  }
  std::string ask() const { return std::string(argument.asker()("alice.passport").view()); }
  std::string choose() const { return std::string(argument.choose("alice.passport").view()); }

  PassphraseArgument argument;

 private:
  CLI::App app_;
};

/// A pipe that holds `content`, at its end.
int pipe_with(std::string_view content) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  EXPECT_EQ(::write(ends[1], content.data(), content.size()), static_cast<ssize_t>(content.size()));
  ::close(ends[1]);
  return ends[0];
}

TEST(Passphrase, IsTheFirstLineOfAFile) {
  const TemporaryFolder folder;
  for (const auto& [content, expected] : {std::pair{"correct horse", "correct horse"},
                                          {"correct horse\n", "correct horse"},
                                          {" two words \n\n", " two words "},
                                          {"first\nsecond\n", "first"},
                                          {"crlf\r\n", "crlf\r"}}) {
    const std::string path = folder.path("secret");
    write_file_atomic(path, bytes_of(content), {.mode = 0600});
    const Parsed parsed({"--passphrase-file", path});
    EXPECT_EQ(parsed.ask(), expected);
    std::filesystem::remove(path);
    EXPECT_EQ(parsed.ask(), expected) << "read once";
    EXPECT_EQ(parsed.choose(), expected);
  }
}

TEST(Passphrase, FilesOfOthersAndEmptyOnesAreRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.path("secret");
  const auto refused = [&](std::string_view content, mode_t mode, Fault fault) {
    write_file_atomic(path, bytes_of(content), {.mode = 0600});
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return refusal(fault, [&] { Parsed({"--passphrase-file", path}).ask(); });
  };
  for (const mode_t mode : {0640, 0604, 0620, 0602})
    EXPECT_CONTAINS(refused("p\n", mode, Fault::kSecret), "chmod 600");
  for (const char* empty : {"", "\n", "\nsecond"})
    EXPECT_CONTAINS(refused(empty, 0600, Fault::kSecret), "empty");
  EXPECT_CONTAINS(refused(std::string(70'000, 'x'), 0600, Fault::kInput), "longer than");
  refusal(Fault::kInput, [&] { Parsed({"--passphrase-file", folder.path("none")}).ask(); });
  const std::string message = refused("very secret", 0640, Fault::kSecret);
  EXPECT_EQ(message.find("very"), std::string::npos);
}

TEST(Passphrase, IsTheFirstLineOfADescriptor) {
  for (const auto& [content, expected] :
       {std::pair{"correct horse", "correct horse"}, {"first\nsecond\n", "first"}}) {
    const int fd = pipe_with(content);
    const Parsed parsed({"--passphrase-fd", std::to_string(fd)});
    EXPECT_EQ(parsed.ask(), expected);
    EXPECT_EQ(parsed.ask(), expected) << "a pipe can be read once only";
    ::close(fd);
  }
  for (const std::string& bad : {std::string(), std::string("\n"), std::string(65'537, 'x')}) {
    const TemporaryFolder folder;  // more than a pipe holds
    const int fd = ::open(folder.write("p", bad).c_str(), O_RDONLY);
    refusal(Fault::kSecret, [&] { Parsed({"--passphrase-fd", std::to_string(fd)}).ask(); });
    ::close(fd);
  }
  EXPECT_CONTAINS(refusal(Fault::kSecret,
                          [] {
                            Parsed({"--passphrase-fd", "9999"}).ask();
                          }),
                  "--passphrase-fd 9999");
}

TEST(Passphrase, ComesOneWay) {
  EXPECT_THROW(Parsed({"--passphrase-file", "x", "--passphrase-fd", "0"}), CLI::ParseError);
  EXPECT_THROW(Parsed({"--passphrase-fd", "-1"}), CLI::ParseError);
  EXPECT_THROW(Parsed({"--passphrase", "on the command line"}), CLI::ParseError);
  EXPECT_THROW(Parsed({"on the command line"}), CLI::ParseError);
}

/// A child on a pseudo-terminal of its own, which ends with code 0 or the fault of body's Error.
class OnTerminal {
 public:
  template <class F>
  explicit OnTerminal(F&& body) {
    int result[2];
    EXPECT_EQ(::pipe(result), 0);
    terminal_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_TRUE(terminal_ >= 0 && ::grantpt(terminal_) == 0 && ::unlockpt(terminal_) == 0);
    const std::string name = ::ptsname(terminal_);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // no test that hangs leaves it behind
      ::setsid();
      ::open(name.c_str(), O_RDWR);  // the first terminal that a session opens is its own
      std::string text;
      int code = 0;
      try {
        text = body();
      } catch (const Error& e) {
        text = e.what();
        code = static_cast<int>(e.fault());
      }
      [[maybe_unused]] const ssize_t n = ::write(result[1], text.data(), text.size());
      ::_exit(code);
    }
    ::close(result[1]);
    result_ = result[0];
  }
  ~OnTerminal() {
    if (pid_ > 0 && !ended_) {
      ::kill(pid_, SIGKILL);
      wait();
    }
    ::close(terminal_);
    ::close(result_);
  }

  /// Waits until the terminal has shown `text`; all it showed until then.
  std::string expect(std::string_view text) {
    while (shown_.find(text, seen_) == std::string::npos) {
      pollfd ready{terminal_, POLLIN, 0};
      char piece[512];
      if (::poll(&ready, 1, 10'000) <= 0) break;
      const ssize_t n = ::read(terminal_, piece, sizeof piece);
      if (n <= 0) break;
      shown_.append(piece, static_cast<size_t>(n));
    }
    const size_t at = shown_.find(text, seen_);
    EXPECT_NE(at, std::string::npos) << "\"" << text << "\" in \"" << shown_ << "\"";
    seen_ = at == std::string::npos ? shown_.size() : at + text.size();
    return shown_;
  }
  void type(std::string_view text) {
    EXPECT_EQ(::write(terminal_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  bool echoes() const {
    termios settings{};
    EXPECT_EQ(::tcgetattr(terminal_, &settings), 0);
    return (settings.c_lflag & ECHO) != 0;
  }
  /// Waits for a state that another process is about to reach.
  template <class F>
  static bool comes(F&& state) {
    for (int i = 0; i < 1000 && !state(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return state();
  }
  void send(int signal) const { EXPECT_EQ(::kill(pid_, signal), 0); }
  /// Waits for its end; the status as waitpid gives it.
  int wait() {
    int status = -1;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    ended_ = true;
    return status;
  }
  /// What the body gave.
  std::string result() {
    std::string out;
    char piece[512];
    for (ssize_t n; (n = ::read(result_, piece, sizeof piece)) > 0;)
      out.append(piece, static_cast<size_t>(n));
    return out;
  }
  const std::string& shown() const { return shown_; }

 private:
  int terminal_ = -1, result_ = -1;
  pid_t pid_ = -1;
  bool ended_ = false;
  std::string shown_;
  size_t seen_ = 0;
};

constexpr const char* kPrompt = "Passphrase of alice.passport: ";

TEST(PassphraseOnATerminal, IsNotShown) {
  OnTerminal t([] { return Parsed({}).ask(); });
  t.expect(kPrompt);
  EXPECT_FALSE(t.echoes());
  t.type("correct\x7f\x7f\x7f horse\n");  // it can be corrected
  t.expect("\n");
  EXPECT_TRUE(OnTerminal::comes([&] { return t.echoes(); }));
  EXPECT_EQ(t.wait(), 0);
  EXPECT_EQ(t.result(), "corr horse");
  EXPECT_EQ(t.shown(), std::string(kPrompt) + "\r\n");
}

TEST(PassphraseOnATerminal, MayBeLong) {
  OnTerminal t([] { return Parsed({}).ask(); });
  t.expect(kPrompt);
  const std::string text(2000, 'x');
  t.type(text + "\n");
  EXPECT_EQ(t.wait(), 0);
  EXPECT_EQ(t.result(), text);
}

TEST(PassphraseOnATerminal, IsChosenByTypingItTwice) {
  OnTerminal t([] { return Parsed({}).choose(); });
  t.expect("New passphrase for alice.passport");
  t.expect(": ");
  t.type("correct horse\n");
  t.expect("again: ");
  EXPECT_FALSE(t.echoes());
  t.type("correct horse\n");
  EXPECT_EQ(t.wait(), 0);
  EXPECT_EQ(t.result(), "correct horse");
  EXPECT_EQ(t.shown().find("horse"), std::string::npos);
}

TEST(PassphraseOnATerminal, MistypedOrEmptyItIsNotChosen) {
  {
    OnTerminal t([] { return Parsed({}).choose(); });
    t.expect(": ");
    t.type("correct horse\n");
    t.expect("again: ");
    t.type("correct horsf\n");
    EXPECT_EQ(WEXITSTATUS(t.wait()), static_cast<int>(Fault::kSecret));
    EXPECT_EQ(t.result(), "the two passphrases differ");
  }
  OnTerminal t([] { return Parsed({}).choose(); });
  t.expect(": ");
  t.type("\n");
  EXPECT_EQ(WEXITSTATUS(t.wait()), static_cast<int>(Fault::kSecret));
  EXPECT_CONTAINS(t.result(), "empty");
}

TEST(PassphraseOnATerminal, TheEndOfTheInputIsNone) {
  OnTerminal t([] { return Parsed({}).ask(); });
  t.expect(kPrompt);
  t.type("\x04");  // ^D
  EXPECT_EQ(WEXITSTATUS(t.wait()), static_cast<int>(Fault::kSecret));
  EXPECT_CONTAINS(t.result(), "input ended");
  EXPECT_TRUE(t.echoes());
}

TEST(PassphraseOnATerminal, ASignalThatEndsTheProgramRestoresTheTerminal) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    OnTerminal t([] { return Parsed({}).ask(); });
    t.expect(kPrompt);
    t.type("half of i");
    EXPECT_FALSE(t.echoes());
    if (signal == SIGINT)
      t.type("\x03");  // as the key gives it
    else
      t.send(signal);
    const int status = t.wait();
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << signal << " " << status;
    EXPECT_TRUE(t.echoes()) << signal;
  }
}

/// On whichever thread the signal is delivered, and where the program handles it itself.
TEST(PassphraseOnATerminal, AHandledSignalEndsTheQuestion) {
  static volatile sig_atomic_t handled = 0;
  OnTerminal t([] {
    ::signal(SIGINT, [](int) { handled = 1; });
    // Only another thread takes signals.
    std::thread([] { std::this_thread::sleep_for(std::chrono::hours(1)); }).detach();
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    try {
      return Parsed({}).ask();
    } catch (const Error& e) {
      ::pthread_sigmask(SIG_UNBLOCK, &all, nullptr);
      return concat(static_cast<int>(e.fault()), handled ? " handled" : " lost");
    }
  });
  t.expect(kPrompt);
  t.type("\x03");
  EXPECT_EQ(t.wait(), 0);
  EXPECT_EQ(t.result(), "75 handled");
  EXPECT_TRUE(t.echoes());
}

TEST(PassphraseOnATerminal, AStoppedProgramLeavesTheTerminalAsItWas) {
  OnTerminal t([] { return Parsed({}).ask(); });
  t.expect(kPrompt);
  t.type("half of it");
  t.type("\x1a");  // ^Z
  // A session without a shell has no one to continue it, and SIGTSTP does not stop an orphaned
  // group: either way the question is asked again and what was typed is gone.
  t.expect("\n");
  t.expect(kPrompt);
  EXPECT_FALSE(t.echoes());
  t.type("correct horse\n");
  EXPECT_EQ(t.wait(), 0);
  EXPECT_EQ(t.result(), "correct horse");
  EXPECT_TRUE(t.echoes());
}

TEST(PassphraseOnATerminal, WithoutOneTheWaysAreNamed) {
  int result[2];
  ASSERT_EQ(::pipe(result), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setsid();  // no controlling terminal any more
    std::string text;
    try {
      text = Parsed({}).ask();
    } catch (const Error& e) {
      text = concat(static_cast<int>(e.fault()), " ", e.what());
    }
    [[maybe_unused]] const ssize_t n = ::write(result[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(result[1]);
  char text[512] = {};
  EXPECT_GT(::read(result[0], text, sizeof text - 1), 0);
  ::close(result[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(std::string_view(text).starts_with("7 "));
  for (const char* way : {"--passphrase-file FILE", "--passphrase-fd N", "terminal"})
    EXPECT_CONTAINS(text, way);
}

}  // namespace
}  // namespace passnorm::cli
