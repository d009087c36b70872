#include "cli/passphrase.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "engine/io/file.hpp"
#include "engine/io/text.hpp"

namespace passnorm::cli {
namespace {

constexpr size_t kMaxBytes = size_t{64} << 10;

SecretBytes read_descriptor(int fd) {
  SecretBytes bytes(kMaxBytes + 1);
  size_t size = 0;
  for (;;) {
    const ssize_t count = ::read(fd, bytes.data() + size, bytes.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(Fault::kSecret, "--passphrase-fd ", fd, ": ", std::strerror(errno));
    if (count == 0) break;
    size += static_cast<size_t>(count);
    if (size > kMaxBytes)
      fail(Fault::kSecret, "--passphrase-fd ", fd, ": longer than ", kMaxBytes, " bytes");
  }
  bytes.resize(size);
  return bytes;
}

SecretText first_line(const std::string& where, std::span<const std::byte> bytes) {
  const std::string_view text = text_of(bytes);
  SecretText line(text.substr(0, text.find('\n')));
  if (line.empty()) fail(Fault::kSecret, where, ": its first line, the passphrase, is empty");
  return line;
}

// --- signals that come while the terminal does not echo

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
int signal_pipe = -1;  ///< where the handler, on whichever thread it runs, says what came

extern "C" void note_signal(int number) {
  const int kept = errno;
  const auto byte = static_cast<unsigned char>(number);
  [[maybe_unused]] const ssize_t written = ::write(signal_pipe, &byte, 1);
  errno = kept;
}

/// While it lives, signals are noted and not acted on; those that the program ignores stay ignored.
class NotedSignals {
 public:
  NotedSignals() : before_() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
      fail(Fault::kMachine, "no pipe: ", std::strerror(errno));
    read_end_ = ends[0];
    signal_pipe = ends[1];
    struct sigaction note {};
    note.sa_handler = note_signal;
    for (size_t i = 0; i < kSignals.size(); ++i) {
      ::sigaction(kSignals[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &note, nullptr);
    }
  }
  ~NotedSignals() {
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
    ::close(signal_pipe);
    ::close(read_end_);
  }
  NotedSignals(const NotedSignals&) = delete;
  NotedSignals& operator=(const NotedSignals&) = delete;

  int descriptor() const { return read_end_; }
  /// What came, or 0.
  int number() const {
    unsigned char byte = 0;
    return ::read(read_end_, &byte, 1) == 1 ? byte : 0;
  }

 private:
  std::array<struct sigaction, kSignals.size()> before_;
  int read_end_ = -1;
};

/// A terminal that shows nothing of what is typed, while this lives.
class Unechoed {
 public:
  explicit Unechoed(int fd) : fd_(fd) {
    if (::tcgetattr(fd, &before_) != 0) fail_terminal();
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL);
    quiet.c_lflag |= ICANON;
    if (::tcsetattr(fd, TCSAFLUSH, &quiet) != 0) fail_terminal();
  }
  ~Unechoed() { ::tcsetattr(fd_, TCSAFLUSH, &before_); }
  Unechoed(const Unechoed&) = delete;
  Unechoed& operator=(const Unechoed&) = delete;

 private:
  [[noreturn]] static void fail_terminal() {
    fail(Fault::kSecret, "the terminal cannot ask for a passphrase: ", std::strerror(errno));
  }
  int fd_;
  termios before_{};
};

void show(int terminal, std::string_view text) {
  [[maybe_unused]] const ssize_t written = ::write(terminal, text.data(), text.size());
}

/// A line, or the signal that came before its end.
struct Answer {
  SecretText text;
  int signal = 0;
};

Answer read_answer(int terminal, const std::string& prompt) {
  // Handlers before the echo goes; back after it has returned.
  const NotedSignals signals;
  const Unechoed unechoed(terminal);
  show(terminal, prompt);
  Answer answer;
  SecretVector<char> piece(4096);
  for (;;) {
    std::array<pollfd, 2> ready{{{terminal, POLLIN, 0}, {signals.descriptor(), POLLIN, 0}}};
    if (::poll(ready.data(), ready.size(), -1) < 0 && errno != EINTR)
      fail(Fault::kSecret, "the terminal cannot be read: ", std::strerror(errno));
    answer.signal = signals.number();
    if (answer.signal != 0) break;
    if (ready[0].revents == 0) continue;
    const ssize_t count = ::read(terminal, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      if (answer.text.empty()) fail(Fault::kSecret, "no passphrase: the terminal's input ended");
      break;
    }
    const std::string_view read(piece.data(), static_cast<size_t>(count));
    const std::string_view line = read.substr(0, read.find('\n'));
    for (const char c : line) answer.text.push_back(c);
    if (line.size() < read.size()) break;
    if (answer.text.size() > kMaxBytes)
      fail(Fault::kSecret, "no passphrase: longer than ", kMaxBytes, " bytes");
  }
  show(terminal, "\n");
  return answer;
}

}  // namespace

SecretText ask_terminal(const std::string& prompt) {
  const Descriptor terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (terminal.get() < 0)
    fail(Fault::kSecret,
         "a passphrase is needed: give --passphrase-file FILE or --passphrase-fd N, or run on a "
         "terminal, which asks");
  for (;;) {
    Answer answer = read_answer(terminal.get(), prompt);
    if (answer.signal == 0) return std::move(answer.text);
    ::raise(answer.signal);  // the terminal echoes again; the program ends or sleeps as it would
    if (answer.signal != SIGTSTP) fail(Fault::kStopped, "stopped while asking for a passphrase");
  }
}

void PassphraseArgument::add_to(CLI::App& command) {
  CLI::Option* file =
      command
          .add_option("--passphrase-file", file_,
                      "its first line is the passphrase of the sealed file; else --passphrase-fd, "
                      "else the terminal asks")
          ->type_name("FILE");
  command
      .add_option("--passphrase-fd", descriptor_,
                  "open file descriptor whose first line is the passphrase")
      ->check(CLI::Range(0, 1 << 20))
      ->excludes(file)
      ->type_name("N");
}

const SecretText* PassphraseArgument::given() const {
  if (given_) return given_.get();
  SecretText text;
  if (!file_.empty()) {
    const SecretFile file = read_secret_file(file_, kMaxBytes);
    if (file.shared)
      fail(Fault::kSecret, file_, ": others can read or change this passphrase; run: chmod 600 ",
           file_);
    text = first_line(file_, file.bytes);
  } else if (descriptor_ >= 0) {
    text = first_line(concat("--passphrase-fd ", descriptor_), read_descriptor(descriptor_));
  } else {
    return nullptr;
  }
  given_ = std::make_shared<const SecretText>(std::move(text));
  return given_.get();
}

AskPassphrase PassphraseArgument::asker() const {
  return [this](const std::string& path) {
    if (const SecretText* text = given()) return *text;
    return ask_terminal("Passphrase of " + printable(path, 200) + ": ");
  };
}

SecretText PassphraseArgument::choose(const std::string& path) const {
  if (const SecretText* text = given()) return *text;
  SecretText first = ask_terminal("New passphrase for " + printable(path, 200) +
                                  " (five random words, or 16 characters and more): ");
  if (first.empty()) fail(Fault::kSecret, "an empty passphrase seals nothing");
  const SecretText second = ask_terminal("The same again: ");
  if (first.view() != second.view()) fail(Fault::kSecret, "the two passphrases differ");
  return first;
}

}  // namespace passnorm::cli
