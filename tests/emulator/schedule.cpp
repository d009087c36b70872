#include "tests/emulator/schedule.hpp"

#include <charconv>
#include <cstdlib>

#include "kernels/runtime/check.hpp"
#include "tests/emulator/fibre.hpp"

namespace passnorm::emulator {
namespace {

/// The number behind `key` in "key:number".
template <class T>
bool read(std::string_view word, std::string_view key, T& value) {
  if (!word.starts_with(key)) return false;
  word.remove_prefix(key.size());
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size();
}

}  // namespace

Schedule Schedule::parse(std::string_view text) {
  Schedule s;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (word == "ascending")
      s.order = Order::kAscending;
    else if (word == "descending")
      s.order = Order::kDescending;
    else if (read(word, "random:", s.seed))
      s.order = Order::kRandom;
    else if (word == "preempt")
      s.preempt = true;
    else if (word == "deferred")
      s.deferred = true;
    else if (!read(word, "threads:", s.threads) || s.threads < 1)
      fail(Fault::kUsage, "PASSNORM_EMULATOR: '", word,
           "' is none of ascending, descending, random:SEED, threads:N, preempt, deferred");
  }
  return s;
}

std::string Schedule::name() const {
  std::string text = order == Order::kAscending    ? "ascending"
                     : order == Order::kDescending ? "descending"
                                                   : concat("random:", seed);
  if (threads != 1) text += concat(",threads:", threads);
  if (preempt) text += ",preempt";
  if (deferred) text += ",deferred";
  return text;
}

Schedule& schedule() {
  static Schedule current = [] {
    const char* text = std::getenv("PASSNORM_EMULATOR");
    return Schedule::parse(text == nullptr ? "" : text);
  }();
  return current;
}

const std::vector<Schedule>& every_schedule() {
  static const std::vector<Schedule> all{{},
                                         {.order = Order::kDescending, .deferred = true},
                                         {.order = Order::kRandom, .seed = 1},
                                         {.order = Order::kRandom, .seed = 2, .preempt = true},
                                         {.order = Order::kRandom, .seed = 3, .threads = 3}};
  // What ThreadSanitizer finds does not depend on the order, but blocks of one thread are ordered.
  static const std::vector<Schedule> watched{{.threads = 2},
                                             {.order = Order::kDescending, .threads = 3},
                                             {.order = Order::kRandom, .seed = 1, .threads = 3}};
  return has_thread_sanitizer() ? watched : all;
}

}  // namespace passnorm::emulator
