// The work of an emulated stream: done when it is issued or when the host waits, or recorded.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "tests/emulator/machine.hpp"

namespace passnorm::emulator {

using Work = std::function<void()>;
/// What a recorded step becomes.
using Record = std::vector<Work>;

class Queue {
 public:
  Queue();
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  /// KernelError at once when a GPU would refuse the launch.
  void launch(Launch launch);
  void add(Work work);
  /// Does all that was issued, and then what was given to at_finish.
  void finish();
  /// One check for every `owner`; an empty one ends it.
  void at_finish(const void* owner, Work check);

  bool recording() const { return record_ != nullptr; }
  void begin_record();
  std::shared_ptr<Record> end_record();

 private:
  void run_pending();

  std::deque<Work> pending_;
  std::map<const void*, Work> checks_;
  std::shared_ptr<Record> record_;
};

inline Queue& queue_of(void* handle) { return *static_cast<Queue*>(handle); }

/// All streams do what was issued, as if the host waited for the device.
void finish_all();

}  // namespace passnorm::emulator
