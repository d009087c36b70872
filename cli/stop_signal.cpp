#include "cli/stop_signal.hpp"

#include <array>
#include <atomic>
#include <csignal>

namespace passnorm::cli {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM};
std::atomic<bool> asked_to_stop = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler writes it");
std::array<struct sigaction, kSignals.size()> before;

extern "C" void on_signal(int signal) {
  if (!asked_to_stop.exchange(true)) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // delivered when this handler returns
}

}  // namespace

StopSignal::StopSignal() {
  asked_to_stop = false;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], nullptr, &before[i]);
    if (before[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);
  }
}

StopSignal::~StopSignal() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before[i], nullptr);
}

bool StopSignal::asked() const { return asked_to_stop; }

}  // namespace passnorm::cli
