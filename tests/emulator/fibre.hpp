// A fibre: code with a stack of its own that gives way where it says so.
#pragma once

#include <boost/context/fiber.hpp>
#include <cstddef>
#include <functional>
#include <string>

namespace passnorm::emulator {

/// Switches are told to AddressSanitizer and ThreadSanitizer where the program has them; this file
/// and its users must themselves be compiled without. To ThreadSanitizer a fibre is a thread, and a
/// switch orders nothing. Never ends: fibres are made once and kept (Processor).
class Fibre {
 public:
  /// `step` is called at every resume after the last call returned.
  explicit Fibre(std::function<void()> step);
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  /// From outside: goes on until the fibre suspends or `step` returns.
  void resume();
  /// From inside.
  void suspend();
  /// In ThreadSanitizer's reports.
  void set_name(const std::string& name);

 private:
  void arrived();

  std::function<void()> step_;
  boost::context::fiber inside_, outside_;
  const void* bottom_ = nullptr;  ///< of the stack
  size_t size_ = 0;
  void *fake_stack_ = nullptr, *thread_ = nullptr;  ///< the sanitizers' handles
  void *outside_fake_stack_ = nullptr, *outside_thread_ = nullptr;
  const void* outside_bottom_ = nullptr;
  size_t outside_size_ = 0;
};

/// ThreadSanitizer: what happened before a release happens before what follows an acquire.
void release(void* token);
void acquire(void* token);

/// ThreadSanitizer sees none of this thread's accesses to memory while it lives.
class Unseen {
 public:
  Unseen();
  ~Unseen();
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};
/// Whether the program has ThreadSanitizer.
bool has_thread_sanitizer();

}  // namespace passnorm::emulator
