// The host's memory in place of ours: every tensor and workspace lies in an arena of the host.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <passnorm/passnorm.hpp>
#include <utility>

using namespace passnorm;

namespace {

// What the host has: one piece of memory, handed out from front to back.
class Arena {
 public:
  explicit Arena(size_t bytes)
      : begin_(static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes))),
        next_(begin_),
        end_(begin_ + bytes) {}
  ~Arena() { std::free(begin_); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void* take(size_t bytes) {
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (bytes > free_bytes()) return nullptr;
    ++lent_;
    return std::exchange(next_, next_ + bytes);
  }
  void give() { --lent_; }
  size_t free_bytes() const { return static_cast<size_t>(end_ - next_); }
  int lent() const { return lent_; }  // blocks

 private:
  static constexpr size_t kAlignment = 64;
  std::byte *begin_, *next_, *end_;
  int lent_ = 0;
};

// How a stream asks for it. The stream's pool keeps and reuses the blocks: a training step takes
// none after the first few.
class ArenaMemory final : public MemorySource {
 public:
  explicit ArenaMemory(Arena& arena) : arena_(arena) {}
  void* take(size_t bytes) override { return arena_.take(bytes); }
  void give(void*, size_t) override { arena_.give(); }
  void fill(void* block, int byte, size_t bytes) override {
    // volatile: a compiler may leave out writes that nobody reads, and secrets are wiped with this.
    std::fill_n(static_cast<volatile unsigned char*>(block), bytes,
                static_cast<unsigned char>(byte));
  }
  size_t free_bytes() const override { return arena_.free_bytes(); }

 private:
  Arena& arena_;
};

bool train_and_verify(const std::shared_ptr<Stream>& stream) {
  const train::DataSpec data = train::parse_data_spec("synthetic:N=640");
  const train::Dataset images = train::load(data, train::Split::kTrain);
  const auto model = models::make("tiny", {.plan = PassportPlan::of("pan")}, stream);
  const auto owner =
      Passport::random(model->sites(), Secret32::random(), Signature::from_text("(c) Alice 2026"));
  train::fit(*model, &owner, {images},
             {.epochs = 2, .batch = 32, .optimizer = {.lr = 0.05f}, .clip_norm = 2});
  return verify::examine(*model, owner).verdict == verify::Verdict::kSupported;
}

}  // namespace

int main() {
  constexpr size_t kBytes = size_t{256} << 20;
  Arena arena(kBytes);  // outlives every stream and tensor that uses it
  bool supported = false;
  {
    const std::shared_ptr<Stream> stream =
        make_stream(Device::cpu(), {.threads = 2, .memory = std::make_unique<ArenaMemory>(arena)});
    supported = train_and_verify(stream);
    std::cout << "trained in " << ((kBytes - arena.free_bytes()) >> 20) << " MiB of the host's, "
              << arena.lent() << " blocks are with the stream\n";
  }
  std::cout << arena.lent() << " blocks after it\n";
  return supported && arena.lent() == 0 ? 0 : 1;
}
