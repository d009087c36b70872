// CudaStream over the emulator: device memory is host memory.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "kernels/runtime/check.hpp"
#include "kernels/runtime/cuda_stream.hpp"
#include "tests/emulator/counters.hpp"
#include "tests/emulator/queue.hpp"
#include "tests/emulator/vendor.hpp"
#include "tests/support/forbid.hpp"

namespace passnorm {
namespace {

using emulator::counters;
using emulator::Queue;
using emulator::queue_of;
using emulator::Record;

constexpr size_t kL2Bytes = size_t{1} << 20;

/// Host memory between guards.
class DeviceMemory final : public MemorySource {
 public:
  explicit DeviceMemory(std::shared_ptr<Queue> queue) : queue_(std::move(queue)) {
    queue_->at_finish(this, [this] { check_guards(); });
  }
  ~DeviceMemory() override { queue_->at_finish(this, {}); }

  void* take(size_t bytes) override {
    ++counters().allocations;
    auto* block = static_cast<std::byte*>(::operator new(bytes + 2 * kGuard, kAlignment));
    std::memset(block, kGuardByte, bytes + 2 * kGuard);
    test::forbid(block, kGuard);
    test::forbid(block + kGuard + bytes, kGuard);
    blocks_[block] = bytes;
    return block + kGuard;
  }
  void give(void* block, size_t bytes) override {
    queue_->finish();  // as cudaFree waits
    auto* begin = static_cast<std::byte*>(block) - kGuard;
    blocks_.erase(begin);
    test::allow(begin, bytes + 2 * kGuard);
    ::operator delete(begin, kAlignment);
  }
  void fill(void* block, int byte, size_t bytes) override {
    queue_->add([=] { std::memset(block, byte, bytes); });
  }
  size_t free_bytes() const override { return host_memory()->free_bytes(); }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr std::align_val_t kAlignment{64};
  static constexpr int kGuardByte = 0xA5;

  void check_guards() {
    for (const auto& [begin, bytes] : blocks_)
      for (std::byte* guard : {begin, begin + kGuard + bytes}) {
        test::allow(guard, kGuard);
        if (std::any_of(guard, guard + kGuard,
                        [](std::byte b) { return b != std::byte{kGuardByte}; })) {
          std::memset(guard, kGuardByte, kGuard);  // once is enough
          fail(Fault::kBug, "a kernel wrote beside a block of ", bytes, " bytes of device memory");
        }
        test::forbid(guard, kGuard);
      }
  }

  std::shared_ptr<Queue> queue_;
  std::map<std::byte*, size_t> blocks_;
};

/// Page-locked blocks: copies from them read what is there when the stream has come so far.
struct Pinned {
  std::mutex mutex;
  std::map<const std::byte*, size_t> blocks;

  bool contains(const void* p) {
    const std::lock_guard lock(mutex);
    const auto* at = static_cast<const std::byte*>(p);
    auto next = blocks.upper_bound(at);
    if (next == blocks.begin()) return false;
    --next;
    return at < next->first + next->second;
  }
};
Pinned& pinned() {
  static Pinned& all = *new Pinned;  // blocks may be static too
  return all;
}

struct EmulatedEvent {
  Queue* queue = nullptr;
  bool reached = false;
  std::chrono::steady_clock::time_point time;
};
EmulatedEvent& event_of(void* event) { return *static_cast<EmulatedEvent*>(event); }

void refuse_record(void* handle, const char* what) {
  PASSNORM_CHECK(!queue_of(handle).recording(), what, " inside a recorded step");
}

/// host: another stream's handle, or null.
std::shared_ptr<void> make_queue(int device, void* host) {
  gpu_report().require(device);
  if (host != nullptr) return {host, [](void*) {}};
  return std::make_shared<Queue>();
}

}  // namespace

CudaStream::CudaStream(int index, StreamOptions options)
    : CudaStream(index, std::move(options), make_queue(index, options.cuda_stream)) {}

CudaStream::CudaStream(int index, StreamOptions&& options, std::shared_ptr<void> owner)
    : Stream(Device::cuda(index),
             std::make_shared<MemoryPool>(
                 options.memory
                     ? std::move(options.memory)
                     : std::make_unique<DeviceMemory>(std::static_pointer_cast<Queue>(owner)))),
      handle_(owner.get()),
      multiprocessors_(emulator::kMultiprocessors),
      l2_bytes_(kL2Bytes),
      engines_(options.engines),
      epilogue_statistics_(options.epilogue_statistics),
      owner_(std::move(owner)) {
  constexpr size_t kBytes = kTickets * sizeof(unsigned);
  tickets_ = static_cast<unsigned*>(memory()->allocate(kBytes));
  fill_bytes(tickets_, 0, kBytes);
}

CudaStream::~CudaStream() {
  queue_of(handle_).finish();
  memory()->release(tickets_, kTickets * sizeof(unsigned));
}

CudaStream::Vendor& CudaStream::vendor() {
  if (!vendor_) vendor_ = std::make_unique<Vendor>(*this);
  return *vendor_;
}

void CudaStream::copy_to_device(void* to, const void* from, size_t bytes) {
  refuse_record(handle_, "a copy from the host");
  if (pinned().contains(from)) {
    queue_of(handle_).add([=] { std::memcpy(to, from, bytes); });
  } else {
    ++counters().pageable_copies;
    const auto* begin = static_cast<const std::byte*>(from);
    queue_of(handle_).add([to, data = std::vector<std::byte>(begin, begin + bytes)] {
      std::memcpy(to, data.data(), data.size());
    });
  }
}
void CudaStream::copy_to_host(void* to, const void* from, size_t bytes) {
  refuse_record(handle_, "a copy to the host");
  queue_of(handle_).add([=] { std::memcpy(to, from, bytes); });
  if (pinned().contains(to)) return;
  ++counters().pageable_copies;
  synchronize();
}
void CudaStream::copy_on_device(void* to, const void* from, size_t bytes) {
  queue_of(handle_).add([=] { std::memcpy(to, from, bytes); });
}
void CudaStream::fill_bytes(void* to, int byte, size_t bytes) {
  queue_of(handle_).add([=] { std::memset(to, byte, bytes); });
}
void CudaStream::synchronize() {
  refuse_record(handle_, "waiting for the device");
  ++counters().synchronisations;
  queue_of(handle_).finish();
}

void CudaStream::begin_capture() {
  queue_of(handle_).begin_record();
  memory()->keep_to_itself(true);
}
std::shared_ptr<void> CudaStream::end_capture() {
  memory()->keep_to_itself(false);
  return queue_of(handle_).end_record();
}
void CudaStream::abandon_capture() { end_capture(); }
void CudaStream::replay(const std::shared_ptr<void>& graph) {
  ++counters().replays;
  for (const emulator::Work& work : *static_cast<const Record*>(graph.get()))
    queue_of(handle_).add(work);
}
size_t CudaStream::nodes(const std::shared_ptr<void>& graph) {
  return static_cast<const Record*>(graph.get())->size();
}

std::byte* CudaStream::allocate_pinned(size_t bytes) {
  ++counters().allocations;
  auto* block = new std::byte[bytes]();
  const std::lock_guard lock(pinned().mutex);
  pinned().blocks[block] = bytes;
  return block;
}
void CudaStream::free_pinned(std::byte* block) {
  emulator::finish_all();  // as cudaFreeHost waits
  const std::lock_guard lock(pinned().mutex);
  pinned().blocks.erase(block);
  delete[] block;
}

void* CudaStream::make_event() { return new EmulatedEvent; }
void CudaStream::destroy_event(void* event) {
  wait_for_event(event);  // its record may not have run
  delete &event_of(event);
}
void CudaStream::record_event(void* event) {
  refuse_record(handle_, "an event");
  EmulatedEvent& e = event_of(event);
  e.queue = &queue_of(handle_);
  e.reached = false;
  e.queue->add([&e] { e.reached = true, e.time = std::chrono::steady_clock::now(); });
}
void CudaStream::wait_for_event(void* event) {
  EmulatedEvent& e = event_of(event);
  if (e.queue == nullptr) return;
  ++counters().synchronisations;
  if (!e.reached) e.queue->finish();
}
double CudaStream::milliseconds_between(void* from, void* to) {
  wait_for_event(from);
  wait_for_event(to);
  return std::chrono::duration<double, std::milli>(event_of(to).time - event_of(from).time).count();
}

GpuReport gpu_report() {
  GpuReport report;
  report.emulated = true;
  report.runtime = "emulated";
  const char* const old = std::getenv("PASSNORM_EMULATED_COMPUTE");  // a major number, for tests
  report.gpus.push_back({.name = "emulated",
                         .compute_major = old != nullptr ? std::atoi(old) : 9,
                         .multiprocessors = emulator::kMultiprocessors,
                         .memory_bytes = host_memory()->free_bytes()});
  return report;
}

}  // namespace passnorm
