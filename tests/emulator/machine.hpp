// Runs CUDA kernels on the CPU, for tests. Every CUDA thread is a fibre; the fibres of a block
// share one thread of the CPU and give way only at barriers and warp intrinsics, in the order that
// the schedule says; blocks of a cooperative launch take turns, each until it waits for the others.
// Nothing here depends on the sanitizers, but under ThreadSanitizer each CUDA thread is a thread of
// its own whose order with others comes from CUDA's barriers and fences alone: a missing one is
// reported whatever the order was.
//
// Found: barriers of a block or grid that not all threads reach, or reach on different lines;
// misused warp intrinsics; indices outside a Shared array; overrun dynamic shared memory; launches
// beyond the limits of compute capability 9.0 (all KernelError). Shared memory starts as 0xFF bytes
// (NaN, -1). Not modelled: speed, reordering by a weak memory beyond missing fences, fast-math.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#include "tests/emulator/cuda_types.hpp"

// What a kernel reads of its place: set whenever a fibre goes on.
inline thread_local constinit uint3 threadIdx{}, blockIdx{};
inline thread_local constinit dim3 blockDim{}, gridDim{};

namespace passnorm::emulator {

/// A kernel broke a rule of CUDA. Not an Error: what tests expect of wrong arguments is that the
/// host refuses them.
class KernelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// std::source_location, which clang 14 lacks.
struct Where {
  const char* file = "";
  int line = 0;
  static constexpr Where current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

// Of the emulated GPU. Few multiprocessors: grids that walk over their data walk in small tests.
inline constexpr unsigned kMultiprocessors = 4;
inline constexpr std::size_t kMostSharedBytes = 227 << 10;  ///< of a block

/// What all blocks of a launch share. `body` is the kernel with its arguments.
struct Launch {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  std::function<void()> body;
  bool on_chip = false;      ///< more than 48 KB of shared memory have been asked for
  bool cooperative = false;  ///< all blocks at the same time
};
/// KernelError when a GPU would refuse it.
void check(const Launch& launch);
/// Runs all blocks. KernelError, or what the kernel threw.
void run(const Launch& launch);

// ---- called by kernels ----

inline thread_local constinit unsigned lane_index = 0;
inline thread_local constinit std::byte* dynamic_shared_memory = nullptr;
inline thread_local constinit std::uint64_t block_number =
    0;  ///< of this thread of the CPU, from 1

enum class Reduction { kNone, kCount, kAnd, kOr };
/// __syncthreads and its reductions of `predicate`.
int block_barrier(Reduction reduction, bool predicate, const Where& where);
/// Of all threads of a cooperative launch.
void grid_barrier(const Where& where);

void warp_barrier(unsigned mask, const Where& where);
/// The value of lane `source`; all bits 1 when that lane takes no part.
std::uint64_t warp_shuffle(unsigned mask, std::uint64_t value, unsigned source, const Where& where);
unsigned warp_ballot(unsigned mask, bool vote, const Where& where);

enum class Scope { kBlock, kDevice };
/// Orders memory accesses with all other fences of the scope: enough to see a missing one.
void fence(Scope scope);

/// Here another thread may take over (Schedule::preempt).
void before_atomic();

/// Ends the kernel with a KernelError.
[[noreturn]] void fail_kernel(const std::string& what);

/// The block's first access to a Shared array: its bytes become 0xFF.
void first_touch(void* data, std::size_t bytes, std::uint64_t& block);

}  // namespace passnorm::emulator
