#include "tests/emulator/queue.hpp"

#include <mutex>
#include <set>

#include "kernels/runtime/check.hpp"
#include "tests/emulator/counters.hpp"
#include "tests/emulator/schedule.hpp"

namespace passnorm::emulator {
namespace {

struct Queues {
  std::mutex mutex;
  std::set<Queue*> all;
};
Queues& queues() {
  static Queues& all = *new Queues;  // streams may be static too
  return all;
}

}  // namespace

Counters& counters() {
  static Counters all;
  return all;
}

Queue::Queue() {
  const std::lock_guard lock(queues().mutex);
  queues().all.insert(this);
}
Queue::~Queue() {
  const std::lock_guard lock(queues().mutex);
  queues().all.erase(this);
}

void Queue::launch(Launch launch) {
  check(launch);
  ++counters().launches;
  add([launch = std::move(launch)] { run(launch); });
}

void Queue::add(Work work) {
  if (record_ != nullptr) {
    record_->push_back(std::move(work));
    return;
  }
  pending_.push_back(std::move(work));
  if (!schedule().deferred) run_pending();
}

void Queue::finish() {
  run_pending();
  for (const auto& [owner, check] : checks_) check();
}

void Queue::at_finish(const void* owner, Work check) {
  if (check)
    checks_[owner] = std::move(check);
  else
    checks_.erase(owner);
}

void Queue::run_pending() {
  while (!pending_.empty()) {
    const Work work = std::move(pending_.front());
    pending_.pop_front();
    work();
  }
}

void Queue::begin_record() {
  PASSNORM_CHECK(record_ == nullptr, "the stream records already");
  record_ = std::make_shared<Record>();
}
std::shared_ptr<Record> Queue::end_record() {
  PASSNORM_CHECK(record_ != nullptr, "the stream records nothing");
  return std::move(record_);
}

void finish_all() {
  const std::lock_guard lock(queues().mutex);
  for (Queue* queue : queues().all) queue->finish();
}

}  // namespace passnorm::emulator
