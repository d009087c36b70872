// Names for the spans of a program that a profiler shows (NVTX: nsys, ncu); native CUDA builds
// only.
#pragma once

namespace passnorm::trace {

/// While it lives, what this thread does is shown under this name: trace::Range range("forward").
/// Without a profiler it costs a few nanoseconds, and nothing in builds without CUDA.
class Range {
 public:
#if PASSNORM_WITH_CUDA && !PASSNORM_EMULATED
  explicit Range(const char* name);
  ~Range();
#else
  explicit Range(const char*) {}
  ~Range() {}  // NOLINT: not trivial, so that a range is not an unused variable
#endif
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

}  // namespace passnorm::trace
