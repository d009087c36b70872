// In which order the emulator runs what a GPU runs at once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace passnorm::emulator {

enum class Order { kAscending, kDescending, kRandom };

/// Warps, their lanes, and the blocks of a grid follow each other in this order; a thread runs
/// until it has to wait for others.
struct Schedule {
  Order order = Order::kAscending;
  uint64_t seed = 1;      ///< of kRandom
  int threads = 1;        ///< threads of the CPU that have a block in flight each
  bool preempt = false;   ///< threads may stop at every atomic too, not only where they wait
  bool deferred = false;  ///< work starts when the host waits for it, not when it is issued

  /// The words "ascending", "descending", "random:7", "threads:3", "preempt", "deferred", with
  /// commas between. Error(kUsage) names a word that is none.
  static Schedule parse(std::string_view text);
  std::string name() const;
};

/// Of all later launches; at first what the environment variable PASSNORM_EMULATOR says.
Schedule& schedule();

/// Schedules that between them swap the order of every pair of threads, warps and blocks.
const std::vector<Schedule>& every_schedule();

/// Another schedule while it lives.
class WithSchedule {
 public:
  explicit WithSchedule(const Schedule& other) : before_(schedule()) { schedule() = other; }
  ~WithSchedule() { schedule() = before_; }
  WithSchedule(const WithSchedule&) = delete;
  WithSchedule& operator=(const WithSchedule&) = delete;

 private:
  Schedule before_;
};

}  // namespace passnorm::emulator
