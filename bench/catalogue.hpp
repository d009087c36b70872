// Every kernel on the shapes of bench/cases, by family: what bench/kernels.cpp times.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor/tensor.hpp"
#include "kernels/runtime/stream.hpp"

namespace passnorm::bench {

/// A call on memory of its own, made before.
using Call = std::function<void()>;

/// A kernel on one shape.
struct Kernel {
  std::string name;  ///< family/kernel/case/type
  DType dtype = DType::kF32;
  double flops = 0;  ///< arithmetic of a call, or 0 where bytes are what counts
  double bytes = 0;  ///< least traffic: each operand once
  double moved = 0;  ///< traffic of all passes that the kernels make over their operands
  std::function<Call(Stream&)> prepare;
  bool recordable = true;  ///< false: it hands a number to the host
};

/// The kernels of a device for networks' layers of n samples.
class Catalogue {
 public:
  Catalogue(Device device, int64_t samples);

  int64_t samples() const { return samples_; }
  bool on_gpu() const { return device_.kind == Device::Kind::kCuda; }
  /// Types of activations that the device computes with.
  const std::vector<DType>& storage() const { return storage_; }
  std::vector<Kernel>& kernels() { return kernels_; }

  /// The last one added may be changed. name: family/kernel.
  Kernel& add(std::string_view name, std::string_view shape, DType dtype, double flops,
              double bytes, std::function<Call(Stream&)> prepare);

 private:
  Device device_;
  int64_t samples_;
  std::vector<DType> storage_;
  std::vector<Kernel> kernels_;
};

// The families; each stands in bench/kernels_<family>.cpp.
void add_convolutions(Catalogue& catalogue);
void add_norms(Catalogue& catalogue);
void add_pools(Catalogue& catalogue);
void add_elementwise(Catalogue& catalogue);
void add_optimizers(Catalogue& catalogue);
void add_passports(Catalogue& catalogue);
void add_inputs(Catalogue& catalogue);
void add_points(Catalogue& catalogue);

/// n elements in [-1, 1) without a pattern that a kernel could profit from.
Tensor operand(Stream& stream, int64_t n, DType dtype = DType::kF32);
/// n zeros, to be written.
Tensor result(Stream& stream, int64_t n, DType dtype = DType::kF32);

inline double width(DType dtype) { return static_cast<double>(size_of(dtype)); }
inline double f64(int64_t n) { return static_cast<double>(n); }

}  // namespace passnorm::bench
