// The work of an emulated stream: done when it is issued or when the host waits, or recorded.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "tests/emulator/machine.hpp"

namespace passnorm::emulator {

/// What a recorded step became.
using Record = std::vector<std::function<void()>>;

class Queue {
 public:
  void launch(Launch launch);
  void add(std::function<void()> work);
  /// Does all that was issued.
  void finish();

  bool recording() const { return record_ != nullptr; }
  void begin_record();
  std::shared_ptr<Record> end_record();

 private:
  std::deque<std::function<void()>> pending_;
  std::shared_ptr<Record> record_;
};

inline Queue& queue_of(void* handle) { return *static_cast<Queue*>(handle); }

}  // namespace passnorm::emulator
