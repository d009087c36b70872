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

}  // namespace
}  // namespace passnorm::test
