#include "tests/emulator/processor.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/runtime/check.hpp"
#include "tests/support/forbid.hpp"

namespace passnorm::emulator {
namespace {

constexpr unsigned kLanes = 32;
constexpr size_t kGuard = 64;  // bytes behind the dynamic shared memory
constexpr std::byte kGuardByte{0xA5};

constinit thread_local Processor* processor = nullptr;

std::string text(const Where& w) { return concat(w.file, ":", w.line); }
std::string text(const uint3& v) { return concat("(", v.x, ",", v.y, ",", v.z, ")"); }

const char* name(Processor::Exchange kind) {
  switch (kind) {
    case Processor::Exchange::kBarrier:
      return "__syncwarp";
    case Processor::Exchange::kShuffle:
      return "a shuffle";
    case Processor::Exchange::kBallot:
      return "a vote";
  }
  return "";
}

}  // namespace

Processor& Processor::current() {
  if (processor == nullptr) throw KernelError("a function of kernels was called outside a kernel");
  return *processor;
}

void Processor::run_block(const Launch& launch, const Schedule& schedule, void* launch_fence,
                          uint3 index, Grid* grid, size_t place) {
  const Unseen unseen;
  launch_ = &launch, schedule_ = schedule, launch_fence_ = launch_fence, block_ = index;
  grid_ = grid, place_ = place, grid_barriers_ = 0;
  error_.clear(), failure_ = nullptr;
  random_.seed(schedule_.seed * 0x9E3779B97F4A7C15u + index.x + 7919u * index.y +
               104729u * index.z);
  shared_.assign(launch.shared_bytes, std::byte{0xFF});
  shared_.insert(shared_.end(), kGuard, kGuardByte);
  test::forbid(shared_.data() + launch.shared_bytes, kGuard);
  const unsigned threads = launch.block.x * launch.block.y * launch.block.z;
  start(threads);
  processor = this;
  ++block_number;
  dynamic_shared_memory = shared_.data();
  blockIdx = index, blockDim = launch.block, gridDim = launch.grid;
  // Blocks of one processor follow each other; those of different ones do not.
  release(&begin_);
  this->schedule(threads);
  acquire(&end_);
  processor = nullptr;
  test::allow(shared_.data(), shared_.size());
  if (failure_) std::rethrow_exception(failure_);
  if (error_.empty() && std::ranges::any_of(shared_.end() - kGuard, shared_.end(),
                                            [](std::byte b) { return b != kGuardByte; }))
    error_ = concat("block ", text(index), ": wrote behind the ", launch.shared_bytes,
                    " bytes of dynamic shared memory");
  if (!error_.empty()) throw KernelError(error_);
}

void Processor::start(unsigned threads) {
  warps_.assign((threads + kLanes - 1) / kLanes, Warp{});
  alive_ = threads, arrived_ = 0;
  while (threads_.size() < threads) {
    threads_.push_back(std::make_unique<Thread>());
    Thread& t = *threads_.back();
    t.number = static_cast<unsigned>(threads_.size()) - 1;
    t.fibre = std::make_unique<Fibre>([this, &t] { thread_main(t); });
  }
  const dim3& b = launch_->block;
  for (unsigned i = 0; i < threads; ++i) {
    Thread& t = *threads_[i];
    t.index = {i % b.x, i / b.x % b.y, i / (b.x * b.y)};
    Warp& warp = warps_[i / kLanes];
    warp.alive |= 1u << i % kLanes;
    warp.ready = warp.alive;
    if (has_thread_sanitizer())
      t.fibre->set_name(concat("block ", text(block_), " thread ", text(t.index)));
  }
}

void Processor::thread_main(Thread& t) {
  acquire(&begin_);
  try {
    if (!giving_up_) launch_->body();
  } catch (const GiveUp&) {
  } catch (...) {
    if (!failure_) failure_ = std::current_exception();
  }
  release(&end_);
  const Unseen unseen;
  --alive_;
  warps_[t.number / kLanes].alive &= ~(1u << t.number % kLanes);
  complete_exchanges(t.number / kLanes);
}

void Processor::arrange(std::vector<unsigned>& order) {
  for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
  if (schedule_.order == Order::kDescending) std::ranges::reverse(order);
  if (schedule_.order == Order::kRandom) std::ranges::shuffle(order, random_);
}

void Processor::schedule(unsigned threads) {
  warp_order_.resize(warps_.size());
  lane_order_.resize(kLanes);
  arrange(warp_order_), arrange(lane_order_);
  while (alive_ > 0 && !failed()) {
    if (schedule_.order == Order::kRandom) arrange(warp_order_);
    for (unsigned w : warp_order_) run_warp(w);
    bool preempted = false;
    for (Warp& warp : warps_) {
      warp.ready |= std::exchange(warp.preempted, 0u);
      preempted |= warp.ready != 0;
    }
    if (preempted || failed() || alive_ == 0) continue;
    if (arrived_ == alive_)
      end_barrier(threads);
    else
      error_ = concat("block ", text(block_), ": deadlock; ", waiting(threads));
  }
  giving_up_ = true;
  for (unsigned i = 0; i < threads; ++i)
    if (warps_[i / kLanes].alive >> i % kLanes & 1) resume(*threads_[i]);
  giving_up_ = false;
}

// As far ahead of the others as it can.
void Processor::run_warp(unsigned index) {
  Warp& warp = warps_[index];
  while (warp.ready != 0 && !failed()) {
    if (schedule_.order == Order::kRandom) arrange(lane_order_);
    for (unsigned lane : lane_order_) {
      if (!(warp.ready >> lane & 1)) continue;
      warp.ready &= ~(1u << lane);
      resume(*threads_[index * kLanes + lane]);
      if (failed()) return;
    }
  }
}

void Processor::resume(Thread& t) {
  running_ = &t;
  threadIdx = t.index;
  lane_index = t.number % kLanes;
  t.fibre->resume();
}

void Processor::suspend() {
  running_->fibre->suspend();
  if (giving_up_) throw GiveUp{};
}

int Processor::block_barrier(Reduction reduction, bool predicate, const Where& where) {
  return wait_for_all(false, reduction, predicate, where);
}

void Processor::grid_barrier(const Where& where) {
  if (grid_ == nullptr) fail("a grid barrier in a launch that is not cooperative");
  wait_for_all(true, Reduction::kNone, false, where);
}

int Processor::wait_for_all(bool of_grid, Reduction reduction, bool predicate, const Where& where) {
  const Unseen unseen;
  if (arrived_ == 0) barrier_ = where, of_grid_ = of_grid, reduction_ = reduction, count_ = 0;
  if (where.line != barrier_.line || std::strcmp(where.file, barrier_.file) != 0 ||
      of_grid != of_grid_ || reduction != reduction_)
    fail(
        concat("barriers of the block on different lines: ", text(barrier_), " and ", text(where)));
  ++arrived_;
  count_ += predicate;
  Thread& t = *running_;
  t.where = where;
  warps_[t.number / kLanes].at_barrier |= 1u << t.number % kLanes;
  void* token = of_grid ? grid_->token(grid_barriers_) : &barrier_token_[generation_ & 1];
  release(token);
  suspend();
  acquire(token);
  return result_;
}

// Of threads that have all arrived.
void Processor::end_barrier(unsigned threads) {
  if (of_grid_) {
    if (!grid_->meet(place_)) {
      error_ = concat("block ", text(block_), ": other blocks never reach the grid's barrier; ",
                      waiting(threads));
      return;
    }
    ++grid_barriers_;
  }
  const int all = static_cast<int>(alive_);
  result_ = reduction_ == Reduction::kAnd  ? count_ == all
            : reduction_ == Reduction::kOr ? count_ > 0
                                           : count_;
  arrived_ = 0;
  ++generation_;
  for (Warp& warp : warps_) warp.ready |= std::exchange(warp.at_barrier, 0u);
}

std::uint64_t Processor::exchange(Exchange kind, unsigned mask, std::uint64_t value,
                                  unsigned source, const Where& where) {
  const Unseen unseen;
  Thread& t = *running_;
  const unsigned lane = t.number % kLanes;
  Warp& warp = warps_[t.number / kLanes];
  if (!(mask >> lane & 1)) fail(concat("the mask lacks the calling lane, at ", text(where)));
  // Lanes that meet here share a token.
  char* token = nullptr;
  for (unsigned rest = warp.exchanging & mask; rest != 0; rest &= rest - 1)
    if (const Part& p = warp.part[std::countr_zero(rest)]; p.mask == mask) token = p.token;
  if (token == nullptr) token = &warp.token[warp.tokens_used++ % warp.token.size()];
  warp.part[lane] = {kind, mask, source, value, ~std::uint64_t{}, token};
  warp.exchanging |= 1u << lane;
  t.where = where;
  if (kind == Exchange::kBarrier) release(token);
  complete_exchanges(t.number / kLanes);
  suspend();
  if (kind == Exchange::kBarrier) acquire(token);
  return warp.part[lane].result;
}

// Ends every exchange whose lanes, but for those that exited, are all here.
void Processor::complete_exchanges(unsigned index) {
  Warp& warp = warps_[index];
  for (unsigned rest = warp.exchanging; rest != 0; rest &= rest - 1) {
    const auto first = static_cast<unsigned>(std::countr_zero(rest));
    const unsigned lanes = warp.part[first].mask & warp.alive;
    if ((warp.exchanging & lanes) != lanes || !(warp.exchanging >> first & 1)) continue;
    std::uint64_t votes = 0;
    for (unsigned m = lanes; m != 0; m &= m - 1) {
      const auto lane = static_cast<unsigned>(std::countr_zero(m));
      const Part &a = warp.part[first], &b = warp.part[lane];
      const Where &x = threads_[index * kLanes + first]->where,
                  &y = threads_[index * kLanes + lane]->where;
      if (a.mask != b.mask && error_.empty())
        error_ = concat("block ", text(block_), ": lanes of a warp pass different masks, at ",
                        text(x), " and ", text(y));
      if (a.kind != b.kind && error_.empty())
        error_ = concat("block ", text(block_), ": lanes of a warp meet in ", name(a.kind), " at ",
                        text(x), " and ", name(b.kind), " at ", text(y));
      votes |= (b.value & 1) << lane;
    }
    for (unsigned m = lanes; m != 0; m &= m - 1) {
      Part& p = warp.part[std::countr_zero(m)];
      if (p.kind == Exchange::kBallot) p.result = votes;
      if (p.kind == Exchange::kShuffle && (lanes >> p.source & 1))
        p.result = warp.part[p.source].value;
    }
    warp.exchanging &= ~lanes;
    warp.ready |= lanes;
  }
}

void Processor::fence(Scope scope) {
  void* token = scope == Scope::kBlock ? &block_fence_ : launch_fence_;
  release(token);
  acquire(token);
}

void Processor::before_atomic() {
  if (!schedule_.preempt || (random_() & 1) == 0) return;
  const Unseen unseen;
  warps_[running_->number / kLanes].preempted |= 1u << running_->number % kLanes;
  suspend();
}

void Processor::fail(const std::string& what) const {
  throw KernelError(concat("block ", text(block_), " thread ", text(running_->index), ": ", what));
}

std::string Processor::waiting(unsigned threads) const {
  std::string list;
  for (unsigned i = 0, shown = 0; i < threads && shown < 4; ++i)
    if (warps_[i / kLanes].alive >> i % kLanes & 1) {
      list +=
          concat("thread ", text(threads_[i]->index), " waits at ", text(threads_[i]->where), "; ");
      ++shown;
    }
  return concat(list, threads - alive_, " of ", threads, " threads have exited");
}

}  // namespace passnorm::emulator
