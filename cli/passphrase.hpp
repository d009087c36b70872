// Where a passphrase comes from: a file, a descriptor or the terminal. Never the command line
// (other users see it), the environment (children inherit it) or the configuration.
#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "engine/passport/passport.hpp"

namespace passnorm::cli {

/// --passphrase-file FILE | --passphrase-fd N; without either the terminal asks, unechoed. Both end
/// at the first newline, which is no part of it. Read once, however often it is asked for.
class PassphraseArgument {
 public:
  void add_to(CLI::App& command);

  /// For opening: Passport::load(path, argument.asker()). Refers to this argument.
  AskPassphrase asker() const;

  /// For sealing `path`: typed twice, and never empty. Ask before the work whose result is sealed.
  /// Error(kSecret) as below, and when the two differ.
  SecretText choose(const std::string& path) const;

 private:
  /// The passphrase of the file or descriptor, or null without either.
  const SecretText* given() const;

  std::string file_;
  int descriptor_ = -1;
  mutable std::shared_ptr<const SecretText> given_;
};

/// One line from the controlling terminal, which shows `prompt` and no character of the answer; its
/// settings are restored whatever happens, also when a signal ends or stops the program.
/// Error(kSecret) when there is no terminal (the message names the ways to give a passphrase) or
/// the input ends.
SecretText ask_terminal(const std::string& prompt);

}  // namespace passnorm::cli
