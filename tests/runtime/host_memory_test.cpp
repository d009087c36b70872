// A host's memory under a stream: what is taken from it, and when all of it is back.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "kernels/runtime/check.hpp"
#include "kernels/runtime/stream.hpp"

namespace passnorm::test {
namespace {

/// What a source was asked for.
struct Ledger {
  std::map<void*, size_t> lent;
  size_t wrong = 0;  ///< blocks that came back with another size, or were never lent
  size_t limit = size_t{64} << 20;
  bool broken = false;  ///< nothing can be filled
  bool gone = false;
};

class LedgerMemory final : public MemorySource {
 public:
  explicit LedgerMemory(Ledger& ledger) : ledger_(ledger) {}
  ~LedgerMemory() override { ledger_.gone = true; }
  void* take(size_t bytes) override {
    if (bytes > ledger_.limit) return nullptr;
    void* block = host_->take(bytes);
    ledger_.lent[block] = bytes;
    return block;
  }
  void give(void* block, size_t bytes) override {
    const auto found = ledger_.lent.find(block);
    ledger_.wrong += found == ledger_.lent.end() || found->second != bytes;
    ledger_.lent.erase(found);
    host_->give(block, bytes);
  }
  void fill(void* block, int byte, size_t bytes) override {
    if (ledger_.broken) fail(Fault::kBug, "the device has failed");
    std::memset(block, byte, bytes);
  }
  size_t free_bytes() const override { return ledger_.limit; }

 private:
  Ledger& ledger_;
  std::unique_ptr<MemorySource> host_ = host_memory();
};

TEST(HostMemory, ComesBackWithTheLastBlock) {
  Ledger ledger;
  auto stream =
      make_stream(Device::cpu(), {.threads = 1, .memory = std::make_unique<LedgerMemory>(ledger)});
  std::shared_ptr<MemoryPool> pool = stream->memory();  // as a tensor holds it
  void* block = pool->allocate(1000);
  ASSERT_EQ(ledger.lent.count(block), 1u);
  EXPECT_GE(ledger.lent[block], 1000u);
  pool->release(block, 1000);
  EXPECT_EQ(ledger.lent.size(), 1u) << "kept for reuse";
  MemoryPlan plan;
  for (int run = 0; run < 2; ++run) {
    const MemoryPlan::Run planned(*pool, plan);
    pool->release(pool->allocate(5000), 5000);
  }
  block = pool->allocate(1000);
  stream.reset();
  EXPECT_FALSE(ledger.gone) << "the block is still there";
  std::memset(block, 1, 1000);
  pool->release(block, 1000);
  pool.reset();
  EXPECT_TRUE(ledger.lent.empty());
  EXPECT_EQ(ledger.wrong, 0u);
  EXPECT_TRUE(ledger.gone);
}

TEST(HostMemory, ThatEndsIsReported) {
  Ledger ledger{.limit = size_t{1} << 20};
  CpuStream stream({.threads = 1, .memory = std::make_unique<LedgerMemory>(ledger)});
  try {
    stream.memory()->allocate(size_t{2} << 20);
    ADD_FAILURE() << "more than there is";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::kMemory);
    EXPECT_NE(std::string(error.what()).find("1 MiB free"), std::string::npos) << error.what();
  }
}

TEST(HostMemory, IsNotTakenWhileAStepIsRecorded) {
  Ledger ledger;
  CpuStream stream({.threads = 1, .memory = std::make_unique<LedgerMemory>(ledger)});
  MemoryPool& pool = *stream.memory();
  pool.release(pool.allocate(1000), 1000);
  pool.keep_to_itself(true);
  pool.release(pool.allocate(1000), 1000);  // what it has
  try {
    pool.allocate(5000);
    ADD_FAILURE() << "memory was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::kBug);
  }
  pool.keep_to_itself(false);
  pool.release(pool.allocate(5000), 5000);
  EXPECT_EQ(ledger.lent.size(), 2u);
}

/// Destructors wipe: an error there would end the program and hide the one that is on its way.
TEST(HostMemory, ThatCannotBeWipedDoesNotThrow) {
  Ledger ledger{.broken = true};
  MemoryPool pool(std::make_unique<LedgerMemory>(ledger));
  void* block = pool.allocate(1000);
  EXPECT_NO_THROW(pool.wipe(block, 1000));
  pool.release(block, 1000);
}

TEST(HostStream, IsOfAGpu) {
  int none = 0;
  try {
    make_stream(Device::cpu(), {.cuda_stream = &none});
    ADD_FAILURE() << "a CPU stream took a cudaStream_t";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::kUsage);
  }
}

}  // namespace
}  // namespace passnorm::test
