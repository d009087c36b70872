#include "kernels/runtime/memory.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>
#include <vector>

#include "kernels/runtime/check.hpp"
#include "kernels/runtime/random.hpp"

namespace passnorm::test {
namespace {

TEST(MemoryPool, AlignsBlocks) {
  MemoryPool pool;
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{257}, size_t{1000},
                       size_t{100003}, (size_t{2} << 20) - 1}) {
    void* block = pool.allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u) << bytes;
    std::memset(block, 1, bytes);
    pool.release(block, bytes);
  }
  for (size_t bytes : {size_t{2} << 20, (size_t{2} << 20) + 1, size_t{5} << 20}) {
    void* block = pool.allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % (size_t{2} << 20), 0u) << bytes;
    std::memset(block, 1, bytes);
    pool.release(block, bytes);
  }
}

TEST(MemoryPool, ReusesReturnedBlocks) {
  MemoryPool pool;
  const std::array<size_t, 4> step{100, 5000, 5000, 3 << 20};
  std::array<void*, 4> first{};
  for (size_t i = 0; i < step.size(); ++i) first[i] = pool.allocate(step[i]);
  for (size_t i = 0; i < step.size(); ++i) pool.release(first[i], step[i]);
  const size_t held = pool.held_bytes(), calls = pool.system_calls();
  std::array<void*, 4> second{};
  for (size_t i = 0; i < step.size(); ++i) second[i] = pool.allocate(step[i]);
  EXPECT_EQ(pool.system_calls(), calls) << "the second step took memory from the system";
  EXPECT_EQ(pool.held_bytes(), held);
  for (size_t i = 0; i < step.size(); ++i) pool.release(second[i], step[i]);
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, second);
}

TEST(MemoryPool, CountsUseAndPeak) {
  MemoryPool pool;
  EXPECT_EQ(pool.used_bytes(), 0u);
  EXPECT_EQ(pool.system_calls(), 0u);
  void* a = pool.allocate(4096);
  void* b = pool.allocate(8192);
  EXPECT_GE(pool.used_bytes(), 4096u + 8192);
  EXPECT_LE(pool.used_bytes(), (4096u + 8192) * 5 / 4) << "more than a quarter is waste";
  const size_t peak = pool.used_bytes();
  pool.release(b, 8192);
  pool.release(a, 4096);
  EXPECT_EQ(pool.used_bytes(), 0u);
  EXPECT_EQ(pool.peak_bytes(), peak);
  EXPECT_EQ(pool.held_bytes(), peak);
  pool.release(pool.allocate(100), 100);
  EXPECT_EQ(pool.peak_bytes(), peak);
  EXPECT_EQ(pool.system_calls(), 3u);
}

/// No block wastes more than a quarter of itself, and sizes of one class are served by one block.
TEST(MemoryPool, SizeClasses) {
  for (size_t bytes = 257; bytes < 100000; bytes += 97) {
    MemoryPool pool;
    void* block = pool.allocate(bytes);
    EXPECT_GE(pool.used_bytes(), bytes);
    EXPECT_LE(pool.used_bytes(), bytes + bytes / 4) << bytes;
    const size_t size = pool.used_bytes();
    pool.release(block, bytes);
    EXPECT_EQ(pool.allocate(size), block) << bytes;
    pool.release(block, size);
  }
}

TEST(MemoryPool, PoisonsEveryBlock) {
  MemoryPool pool;
  pool.poison(true);
  for (int round = 0; round < 2; ++round) {  // a fresh block, and a used one
    auto* block = static_cast<float*>(pool.allocate(1000 * sizeof(float)));
    for (int i = 0; i < 1000; ++i)
      ASSERT_TRUE(block[i] != block[i]) << "round " << round << ", element " << i;
    std::fill_n(block, 1000, 1.0f);
    pool.release(block, 1000 * sizeof(float));
  }
}

TEST(MemoryPool, SaysThatMemoryRanOut) {
  MemoryPool pool;
  void* some = pool.allocate(size_t{4} << 20);
  try {
    pool.allocate(size_t{1} << 60);
    FAIL() << "an exbibyte was found";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::kMemory);
    EXPECT_NE(std::string(error.what()).find("4 MiB in use"), std::string::npos) << error.what();
  }
  EXPECT_EQ(pool.used_bytes(), size_t{4} << 20) << "a failed request counts as used";
  pool.release(some, size_t{4} << 20);
}

/// Many threads take, fill, check and return blocks: no block is handed out twice at a time, no
/// count is lost.
TEST(MemoryPool, ServesManyThreads) {
  MemoryPool pool;
  std::vector<std::thread> threads;
  std::array<int, 4> torn{};
  for (uint32_t t = 0; t < torn.size(); ++t)
    threads.emplace_back([&pool, &torn, t] {
      const Random random(1, Purpose::kTest, t);
      for (uint64_t i = 0; i < 2000; ++i) {
        const size_t bytes = 1 + random.below(i, 3000);
        auto* block = static_cast<unsigned char*>(pool.allocate(bytes));
        std::memset(block, static_cast<int>(t + 1), bytes);
        std::this_thread::yield();
        torn[t] += std::count(block, block + bytes, t + 1) != static_cast<std::ptrdiff_t>(bytes);
        pool.release(block, bytes);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(torn, (std::array<int, 4>{}));
  EXPECT_EQ(pool.used_bytes(), 0u);
  EXPECT_LE(pool.peak_bytes(), torn.size() * 3072);
}

/// Work that takes and returns blocks, filling each with its own byte: two blocks that live at the
/// same time must not share memory.
class Worker {
 public:
  explicit Worker(MemoryPool& pool) : pool_(pool) {}
  void take(size_t bytes) {
    auto* block = static_cast<unsigned char*>(pool_.allocate(bytes));
    const auto mark = static_cast<unsigned char>(++taken_);
    std::memset(block, mark, bytes);
    live_.push_back({block, bytes, mark});
  }
  void give(size_t i) {
    const Block b = live_[i];
    torn_ += std::count(b.data, b.data + b.bytes, b.mark) != static_cast<std::ptrdiff_t>(b.bytes);
    pool_.release(b.data, b.bytes);
    live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  void give_all() {
    while (!live_.empty()) give(live_.size() - 1);
  }
  size_t live() const { return live_.size(); }
  const void* last() const { return live_.back().data; }
  int torn() const { return torn_; }

 private:
  struct Block {
    unsigned char* data;
    size_t bytes;
    unsigned char mark;
  };
  MemoryPool& pool_;
  std::vector<Block> live_;
  int taken_ = 0, torn_ = 0;
};

/// A sequence of takes and gives drawn from a seed; `outlive` blocks stay at its end.
void random_work(Worker& w, uint32_t seed, size_t outlive = 0) {
  const Random random(seed, Purpose::kTest);
  const size_t before = w.live();
  for (uint64_t i = 0; i < 400; ++i)
    if (w.live() == before || random.below(2 * i, 2) == 0)
      w.take(1 + random.below(2 * i + 1, 5000));
    else
      w.give(before + random.below(2 * i + 1, static_cast<uint32_t>(w.live() - before)));
  while (w.live() > before + outlive) w.give(w.live() - 1);
}

TEST(MemoryPlan, BlocksThatLiveTogetherShareNothing) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    MemoryPool pool;
    MemoryPlan plan;
    Worker w(pool);
    for (int run = 0; run < 4; ++run) {
      const MemoryPlan::Run scope(pool, plan);
      random_work(w, seed);
    }
    EXPECT_TRUE(plan.planned());
    EXPECT_EQ(w.torn(), 0) << seed;
    EXPECT_LT(plan.slab_bytes(), plan.block_bytes() / 2) << "nothing is shared";
  }
}

TEST(MemoryPlan, RepeatsAddressesAndTakesNothingFromTheSystem) {
  MemoryPool pool;
  MemoryPlan plan;
  std::vector<const void*> addresses[3];
  size_t calls[3];
  for (int run = 0; run < 3; ++run) {
    const MemoryPlan::Run scope(pool, plan);
    Worker w(pool);
    for (size_t bytes : {100, 70000, 3000}) {
      w.take(bytes);
      addresses[run].push_back(w.last());
    }
    w.give_all();
    calls[run] = pool.system_calls();
  }
  EXPECT_EQ(addresses[1], addresses[2]);
  EXPECT_EQ(calls[1], calls[2]);
  EXPECT_GE(plan.slab_bytes(), 73100u);
  EXPECT_LE(pool.held_bytes(), 2 * plan.slab_bytes()) << "what the first run took is still there";
}

TEST(MemoryPlan, ReusesMemoryAsSoonAsItIsFree) {
  MemoryPool pool;
  MemoryPlan plan;
  for (int run = 0; run < 2; ++run) {  // never more than two blocks at a time
    const MemoryPlan::Run scope(pool, plan);
    Worker w(pool);
    w.take(4096);
    for (int i = 0; i < 10; ++i) {
      w.take(4096);
      w.give(0);
    }
    w.give_all();
  }
  EXPECT_EQ(plan.slab_bytes(), 2 * 4096u);
}

TEST(MemoryPlan, BlocksOutliveTheirRun) {
  MemoryPool pool;
  MemoryPlan plan;
  Worker w(pool);
  for (int run = 0; run < 4; ++run) {
    const MemoryPlan::Run scope(pool, plan);
    random_work(w, 7, 3);  // 3, 6, 9, 12 blocks live on
  }
  EXPECT_TRUE(plan.planned());
  EXPECT_EQ(w.live(), 12u);
  w.give_all();
  EXPECT_EQ(w.torn(), 0);
}

TEST(MemoryPlan, ARunThatDiffersStartsAnew) {
  MemoryPool pool;
  MemoryPlan plan;
  Worker w(pool);
  const auto run = [&](uint32_t seed) {
    const MemoryPlan::Run scope(pool, plan);
    random_work(w, seed);
  };
  for (uint32_t seed : {1, 1, 2, 1, 1, 3, 3, 3}) run(seed);
  EXPECT_EQ(w.torn(), 0);
  EXPECT_TRUE(plan.planned());
  {  // The same takes, but a block that the plan gives back stays: it keeps the slab.
    const MemoryPlan::Run scope(pool, plan);
    random_work(w, 3, 2);
  }
  EXPECT_EQ(w.live(), 2u);
  for (uint32_t seed : {3, 3, 4}) run(seed);
  w.give_all();
  for (uint32_t seed : {3, 3, 3}) run(seed);
  EXPECT_EQ(w.torn(), 0);
  EXPECT_TRUE(plan.planned());
}

TEST(MemoryPlan, PlansShareTheSlabAndDoNotNest) {
  MemoryPool pool;
  MemoryPlan small, large;
  Worker w(pool);
  for (int run = 0; run < 3; ++run) {
    {
      const MemoryPlan::Run scope(pool, small);
      w.take(10000);
      const MemoryPlan::Run inner(pool, large);  // nothing of its own
      w.take(10000);
      w.give_all();
    }
    const MemoryPlan::Run scope(pool, large);
    for (int i = 0; i < 5; ++i) w.take(10000);
    w.give_all();
  }
  EXPECT_GE(small.slab_bytes(), 20000u);
  EXPECT_GE(large.slab_bytes(), 50000u);
  EXPECT_LE(pool.held_bytes(), large.slab_bytes() * 5 / 4);
  EXPECT_EQ(w.torn(), 0);
}

TEST(MemoryPlan, OtherThreadsUseThePool) {
  MemoryPool pool;
  MemoryPlan plan;
  Worker w(pool), other(pool);
  for (int run = 0; run < 3; ++run) {
    const MemoryPlan::Run scope(pool, plan);
    w.take(5000);
    std::thread([&] { random_work(other, static_cast<uint32_t>(run)); }).join();
    w.take(6000);
    w.give_all();
  }
  EXPECT_TRUE(plan.planned());
  EXPECT_LE(plan.slab_bytes(), 11200u);
  EXPECT_EQ(w.torn() + other.torn(), 0);
}

}  // namespace
}  // namespace passnorm::test
