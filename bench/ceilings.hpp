// The ceilings that kernels are held against, measured on the machine they run on.
#pragma once

#include <map>
#include <string>

#include "kernels/runtime/dtype.hpp"
#include "kernels/runtime/stream.hpp"

namespace passnorm::bench {

/// Each is measured at its first use: the best of several rounds; on a CPU on all threads of the
/// stream, on a GPU over as many sets of operands as sets_beyond_cache() says: like small kernels,
/// small copies are of the L2 cache.
class Ceilings {
 public:
  explicit Ceilings(Stream& stream) : stream_(stream) {}

  /// Bytes per second, read and written counted, of a plain copy whose two buffers together hold
  /// as many bytes as asked for, rounded up to a power of two: on a CPU from cache or from memory,
  /// as a kernel of that footprint.
  double copy(double bytes);
  /// Its name in `measured`: "copy 32 MiB".
  static std::string copy_name(double bytes);

  /// FLOP per second. On a CPU of fused multiply-adds on registers: kF32, or kBF16 (products of
  /// bf16 pairs added in f32; that of kF32 where the CPU has no such instruction). On a GPU of a
  /// square matrix product of the vendor's library on random numbers. 0: unknown on this machine.
  double arithmetic(DType dtype);
  /// "multiply-add f32", "matmul bf16 8192"
  std::string arithmetic_name(DType dtype) const;

  /// What was measured so far, in bytes/s and FLOP/s.
  const std::map<std::string, double>& measured() const { return measured_; }

 private:
  Stream& stream_;
  std::map<std::string, double> measured_;
};

/// All of them: copies of the footprints that kernels have, and every type's arithmetic.
std::map<std::string, double> measure_ceilings(Stream& stream);

}  // namespace passnorm::bench
