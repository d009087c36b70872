// What emulated streams were asked to do, so that tests can say what a step may not do.
#pragma once

#include <atomic>
#include <cstddef>

namespace passnorm::emulator {

struct Counters {
  std::atomic<std::size_t> allocations{0};       ///< of device or page-locked memory
  std::atomic<std::size_t> synchronisations{0};  ///< the host waited: for the stream or an event
  std::atomic<std::size_t> launches{0};          ///< of kernels; recorded ones count when recorded
  std::atomic<std::size_t> replays{0};
  std::atomic<std::size_t> pageable_copies{0};  ///< from or to host memory that is not page-locked
};
Counters& counters();

}  // namespace passnorm::emulator
