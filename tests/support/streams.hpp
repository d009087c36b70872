// The streams of the tests of kernels: making one is dear, and results may not depend on which one
// is used. The same tests run on the CPU and, with PASSNORM_TEST_CUDA, on a GPU or the emulator.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "kernels/runtime/stream.hpp"
#include "tests/support/buffer.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/stream_options.hpp"
#if PASSNORM_EMULATED
#include "tests/emulator/schedule.hpp"
#endif

namespace passnorm::test {

#if PASSNORM_TEST_CUDA
using TestStream = CudaStream;
inline std::string name_of(const CudaStream& stream) { return stream.device().name(); }

inline std::array<CudaStream, 1>& streams() {
  // Never destroyed: at exit cuDNN ends before what was made ahead of its being opened.
  static auto& all = *new std::array<CudaStream, 1>{CudaStream(0, stream_options())};
  static const bool poisoned = (all[0].memory()->poison(true), true);
  static_cast<void>(poisoned);
  results_are_due() = true;
  return all;
}
inline CudaStream& stream() { return streams()[0]; }
#else
using TestStream = CpuStream;
inline std::string name_of(const CpuStream& stream) {
  return std::to_string(stream.threads()) + " threads";
}

/// With 1, 2 and 3 threads (more than the cores of a small machine, and a count that divides
/// nothing).
inline std::array<CpuStream, 3>& streams() {
  static std::array<CpuStream, 3> all{CpuStream(1), CpuStream(2), CpuStream(3)};
  return all;
}
inline CpuStream& stream() { return streams()[1]; }
#endif

/// A kernel leaves the counters of its launches as it found them.
inline void expect_no_tickets(CpuStream&) {}
#if PASSNORM_TEST_CUDA
inline void expect_no_tickets(CudaStream& s) {
  std::vector<unsigned> tickets(CudaStream::kTickets);
  s.copy_to_host(tickets.data(), s.tickets(), tickets.size() * sizeof(unsigned));
  s.synchronize();
  for (size_t i = 0; i < tickets.size(); ++i)
    ASSERT_EQ(tickets[i], 0u) << "ticket " << i << " was not set back";
}
#endif

/// Calls `run(stream, name)` once per way to run the same work: each stream of the CPU; the
/// emulator forwards, backwards and in one of its other orders, which take turns; a GPU twice.
template <class F>
void in_every_way(F&& run) {
#if PASSNORM_TEST_CUDA && PASSNORM_EMULATED
  const std::vector<emulator::Schedule>& all = emulator::every_schedule();
  static size_t turn = 0;
  for (const size_t k : {size_t{0}, size_t{1}, 2 + turn++ % (all.size() - 2)}) {
    const emulator::WithSchedule set(all[k]);
    run(stream(), all[k].name());
    expect_no_tickets(stream());
  }
#elif PASSNORM_TEST_CUDA
  for (const char* name : {"the first run", "the second run"}) {
    run(stream(), std::string(name));
    expect_no_tickets(stream());
  }
#else
  for (CpuStream& s : streams()) run(s, name_of(s));
#endif
}

/// Runs `run(stream)`, which returns its output buffers in a vector, in every way: the bits must be
/// the same. Returns the outputs of the first.
template <class F>
std::vector<Buffer> on_every_stream(F&& run) {
  std::vector<Buffer> first;
  in_every_way([&](TestStream& s, const std::string& name) {
    std::vector<Buffer> outputs = run(s);
    s.synchronize();
    if (first.empty()) {
      first = std::move(outputs);
      return;
    }
    for (size_t i = 0; i < first.size(); ++i)
      EXPECT_TRUE(same_bits(first[i], outputs[i])) << "output " << i << " of " << name;
  });
  return first;
}

/// A vector of buffers, which can only be moved: list(std::move(a), std::move(b)).
template <class... Buffers>
std::vector<Buffer> list(Buffers&&... buffers) {
  std::vector<Buffer> v;
  (v.push_back(std::forward<Buffers>(buffers)), ...);
  return v;
}

}  // namespace passnorm::test
