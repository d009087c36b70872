// What an emulated stream records, refuses and counts.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "kernels/cuda/gpu.cuh"
#include "kernels/runtime/graph.hpp"
#include "kernels/runtime/pinned.hpp"
#include "tests/emulator/counters.hpp"
#include "tests/emulator/schedule.hpp"

namespace passnorm {
namespace {

__global__ void add_kernel(float* y, const float* x) { *y += *x; }

/// y and x in device memory, zero and one.
class EmulatedStream : public testing::Test {
 protected:
  void SetUp() override {
    const float start[2]{0, 1};
    stream.copy_to_device(y, start, sizeof start);
  }
  ~EmulatedStream() override { stream.memory()->release(y, 2 * sizeof(float)); }
  void add() { gpu::launch(stream, add_kernel, 1, 1, 0, y, static_cast<const float*>(y + 1)); }
  float read() {
    float value = 0;
    stream.copy_to_host(&value, y, sizeof value);
    return value;
  }

  CudaStream stream;
  float* y = static_cast<float*>(stream.memory()->allocate(2 * sizeof(float)));
};
void expect_bug(const std::function<void()>& f, const std::string& part) {
  try {
    f();
    ADD_FAILURE() << "no error about " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::kBug);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST_F(EmulatedStream, WhatIsRecordedRunsWithEveryReplay) {
  stream.begin_capture();
  add();
  stream.fill_bytes(y + 1, 0, 0);
  const std::shared_ptr<void> record = stream.end_capture();
  EXPECT_EQ(read(), 0) << "recording runs nothing";
  EXPECT_EQ(CudaStream::nodes(record), 2u);
  const size_t launches = emulator::counters().launches, replays = emulator::counters().replays;
  for (int i = 0; i < 3; ++i) stream.replay(record);
  EXPECT_EQ(read(), 3);
  EXPECT_EQ(emulator::counters().launches, launches);
  EXPECT_EQ(emulator::counters().replays, replays + 3);
}

TEST_F(EmulatedStream, RefusesInsideARecord) {
  float value = 0;
  stream.begin_capture();
  expect_bug([&] { stream.synchronize(); }, "waiting for the device");
  expect_bug([&] { stream.copy_to_host(&value, y, sizeof value); }, "a copy to the host");
  expect_bug([&] { stream.copy_to_device(y, &value, sizeof value); }, "a copy from the host");
  expect_bug([&] { stream.memory()->allocate(1 << 20); }, "memory from the system");
  stream.abandon_capture();
  add();
  EXPECT_EQ(read(), 1) << "work goes on";
}

TEST_F(EmulatedStream, DeferredWorkRunsWhenTheHostWaits) {
  emulator::Schedule deferred;
  deferred.deferred = true;
  const emulator::WithSchedule set(deferred);
  stream.synchronize();
  add();
  EXPECT_EQ(*y, 0);
  stream.synchronize();
  EXPECT_EQ(*y, 1);
}

/// Page-locked memory is read when the stream comes there, other memory when the copy is issued.
TEST_F(EmulatedStream, CopiesFromPageLockedMemoryReadLate) {
  emulator::Schedule deferred;
  deferred.deferred = true;
  const emulator::WithSchedule set(deferred);
  PinnedBytes pinned(stream, sizeof(float));
  float plain = 2, late = 3;
  std::memcpy(pinned.bytes().data(), &plain, sizeof plain);
  stream.copy_to_device(y, pinned.bytes().data(), sizeof(float));
  stream.copy_to_device(y + 1, &plain, sizeof(float));
  std::memcpy(pinned.bytes().data(), &late, sizeof late);
  plain = late;
  stream.synchronize();
  EXPECT_EQ(y[0], 3);
  EXPECT_EQ(y[1], 2);
}

/// Staged secrets are not wiped before the stream has read them.
TEST_F(EmulatedStream, StagedSecretsArrive) {
  emulator::Schedule deferred;
  deferred.deferred = true;
  const emulator::WithSchedule set(deferred);
  const size_t copies = emulator::counters().pageable_copies;
  const float secret = 5;
  {
    SecretStaging staging(stream, sizeof secret);
    staging.copy_to_device(y, &secret, sizeof secret);
    EXPECT_EQ(*y, 0) << "nothing has waited yet";
  }
  EXPECT_EQ(*y, 5);
  float back = 0;
  SecretStaging(stream, sizeof back).copy_to_host(&back, y, sizeof back);
  EXPECT_EQ(back, 5);
  EXPECT_EQ(emulator::counters().pageable_copies, copies);
}

TEST_F(EmulatedStream, EventsAreReachedInOrder) {
  emulator::Schedule deferred;
  deferred.deferred = true;
  const emulator::WithSchedule set(deferred);
  Event before(stream), after(stream);
  before.record();
  add();
  after.record();
  EXPECT_EQ(*y, 0);
  before.wait();
  after.wait();
  EXPECT_EQ(*y, 1);
  EXPECT_GE(Event::milliseconds(before, after), 0);
}

TEST_F(EmulatedStream, CountsWhatTheHostAsksFor) {
  emulator::Counters& c = emulator::counters();
  const size_t allocations = c.allocations, synchronisations = c.synchronisations,
               launches = c.launches;
  add();
  EXPECT_EQ(c.launches, launches + 1);
  EXPECT_EQ(c.synchronisations, synchronisations);
  stream.synchronize();
  EXPECT_EQ(c.synchronisations, synchronisations + 1);
  EXPECT_EQ(c.allocations, allocations);
  void* block = stream.memory()->allocate(3 << 20);
  EXPECT_EQ(c.allocations, allocations + 1);
  stream.memory()->release(block, 3 << 20);
}

TEST(EmulatedDevice, IsAskedForByName) {
  EXPECT_EQ(Device::best(), Device::cpu());
  const GpuReport report = gpu_report();
  ASSERT_EQ(report.gpus.size(), 1u);
  EXPECT_EQ(report.gpus[0].name, "emulated");
  EXPECT_EQ(report.runtime, "emulated");
  EXPECT_THROW(CudaStream(1), Error);
}

TEST(EmulatedDevice, MustBeNewEnough) {
  setenv("PASSNORM_EMULATED_COMPUTE", "7", 1);
  EXPECT_EQ(gpu_report().first(), std::nullopt);
  EXPECT_EQ(Device::best(), Device::cpu());
  try {
    make_stream(Device::cuda());
    ADD_FAILURE() << "an old GPU was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::kMachine);
    EXPECT_NE(std::string(error.what()).find("compute capability 7.0"), std::string::npos);
  }
  unsetenv("PASSNORM_EMULATED_COMPUTE");
  EXPECT_EQ(gpu_report().first(), 0);
}

/// Memory of a test that says when it is used.
class CountingMemory final : public MemorySource {
 public:
  explicit CountingMemory(int& live) : live_(live) {}
  void* take(size_t bytes) override { return ++live_, source_->take(bytes); }
  void give(void* block, size_t bytes) override { --live_, source_->give(block, bytes); }
  void fill(void* block, int byte, size_t bytes) override { source_->fill(block, byte, bytes); }
  size_t free_bytes() const override { return source_->free_bytes(); }

 private:
  int& live_;
  std::unique_ptr<MemorySource> source_ = host_memory();
};

/// The host's work and ours are in one order, without a wait; its memory is ours while we live.
TEST_F(EmulatedStream, WorksOnTheHostsStreamInItsMemory) {
  emulator::Schedule deferred;
  deferred.deferred = true;
  const emulator::WithSchedule set(deferred);
  int live = 0;
  {
    CudaStream ours(
        0, {.memory = std::make_unique<CountingMemory>(live), .cuda_stream = stream.handle()});
    EXPECT_EQ(ours.handle(), stream.handle());
    EXPECT_GT(live, 0);
    add();                                         // the host's: y = 1
    ours.copy_on_device(y + 1, y, sizeof(float));  // ours
    ours.fill_bytes(y, 0, sizeof(float));          // ours
    add();                                         // the host's: y = 0 + 1
    const size_t allocations = emulator::counters().allocations;
    ours.memory()->release(ours.memory()->allocate(1 << 20), 1 << 20);
    EXPECT_EQ(emulator::counters().allocations, allocations);
    EXPECT_EQ(*y, 0) << "nothing has waited yet";
    ours.begin_capture();
    expect_bug([&] { ours.memory()->allocate(size_t{2} << 20); }, "memory from the system");
    ours.abandon_capture();
  }
  EXPECT_EQ(live, 0);
  EXPECT_EQ(*y, 1) << "the end of our stream waits for its work";
  add();
  stream.synchronize();
  EXPECT_EQ(*y, 2) << "the host's stream goes on";
}

TEST(EmulatorSchedule, IsParsedFromWords) {
  using emulator::Order;
  using emulator::Schedule;
  const Schedule s = Schedule::parse("random:7,threads:3,deferred");
  EXPECT_EQ(s.order, Order::kRandom);
  EXPECT_EQ(s.seed, 7u);
  EXPECT_EQ(s.threads, 3);
  EXPECT_TRUE(s.deferred);
  EXPECT_FALSE(s.preempt);
  EXPECT_EQ(s.name(), "random:7,threads:3,deferred");
  EXPECT_EQ(Schedule::parse("").order, Order::kAscending);
  EXPECT_EQ(Schedule::parse("preempt,descending").name(), "descending,preempt");
  for (const char* bad : {"sideways", "random", "random:x", "threads:0", "threads:2x", ",preempt"})
    EXPECT_THROW(Schedule::parse(bad), Error) << bad;
}

}  // namespace
}  // namespace passnorm
