// Sums that the host reads, for checks outside a step: by CUB, in native builds only.
#include <thrust/iterator/transform_iterator.h>

#include <cub/device/device_reduce.cuh>

#include "kernels/cuda/check.hpp"
#include "kernels/reduce.hpp"
#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

struct Square {
  __device__ double operator()(float x) const { return double{x} * double{x}; }
};
struct IsNonfinite {
  __device__ int64_t operator()(float x) const {
    return (__float_as_uint(x) & 0x7f800000u) == 0x7f800000u;
  }
};
struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

/// The sum of f(x) over x. CUB's reductions give the same bits in every run on one device.
template <class R, class F>
R sum(CudaStream& stream, std::span<const float> x, F f) {
  const auto handle = static_cast<cudaStream_t>(stream.handle());
  const auto n = static_cast<int64_t>(x.size());
  const Scratch<R> result(stream, 1);
  const auto values = thrust::make_transform_iterator(x.data(), f);
  size_t bytes = 0;
  PASSNORM_CALL(
      cub::DeviceReduce::Reduce(nullptr, bytes, values, result.data(), n, Plus{}, R{0}, handle));
  const Scratch<std::byte> scratch(stream, static_cast<int64_t>(bytes));
  PASSNORM_CALL(cub::DeviceReduce::Reduce(scratch.data(), bytes, values, result.data(), n, Plus{},
                                          R{0}, handle));
  R on_host{};
  stream.copy_to_host(&on_host, result.data(), sizeof on_host);
  stream.synchronize();
  return on_host;
}

}  // namespace

double sum_squares(CudaStream& stream, std::span<const float> x) {
  return sum<double>(stream, x, Square{});
}

int64_t count_nonfinite(CudaStream& stream, std::span<const float> x) {
  return sum<int64_t>(stream, x, IsNonfinite{});
}

}  // namespace passnorm::kernels
