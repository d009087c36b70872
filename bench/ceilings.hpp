// The ceilings that kernels are held against, measured on the machine they run on.
#pragma once

#include <map>
#include <string>

#include "kernels/runtime/dtype.hpp"
#include "kernels/runtime/stream.hpp"

namespace passnorm::bench {

/// Each is measured at its first use, on all threads of the stream: the best of several rounds.
class Ceilings {
 public:
  explicit Ceilings(CpuStream& stream) : stream_(stream) {}

  /// Bytes per second, read and written counted, of a plain copy whose two buffers together hold
  /// as many bytes as asked for, rounded up to a power of two: from cache or from memory, as a
  /// kernel of that footprint.
  double copy(double bytes);
  /// Its name in `measured`: "copy 32 MiB".
  static std::string copy_name(double bytes);

  /// FLOP per second of fused multiply-adds on registers: kF32, or kBF16 (products of bf16 pairs
  /// added in f32; that of kF32 where the CPU has no such instruction). 0: unknown on this CPU.
  double multiply_add(DType dtype);

  /// What was measured so far, in bytes/s and FLOP/s ("multiply-add f32").
  const std::map<std::string, double>& measured() const { return measured_; }

 private:
  CpuStream& stream_;
  std::map<std::string, double> measured_;
};

}  // namespace passnorm::bench
