// Work that repeats, as the trainer's step does.
#pragma once

#include <functional>
#include <utility>

#include "kernels/runtime/graph.hpp"

namespace passnorm::bench {

/// Its memory is planned in the first run; after that a GPU records it and replays the record.
class Recorded {
 public:
  Recorded(Stream& stream, std::function<void()> work) : stream_(stream), work_(std::move(work)) {}

  void operator()() {
    if (plan_.planned())
      captured_.run(stream_, [this] { run_planned(); }, {.plan = &plan_});
    else
      run_planned();
  }
  /// Kernels and copies of a run on a GPU; 0 before it is recorded.
  size_t launches() const { return captured_.nodes(); }

 private:
  void run_planned() {
    const MemoryPlan::Run run(*stream_.memory(), plan_);
    work_();
  }

  Stream& stream_;
  std::function<void()> work_;
  MemoryPlan plan_;
  CapturedWork captured_;
};

}  // namespace passnorm::bench
