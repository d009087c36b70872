// Contracts whose native kernels use Thrust, in emulated builds.
#include "kernels/reduce.hpp"
#include "tests/emulator/vendor.hpp"

namespace passnorm::kernels {

double sum_squares(CudaStream& stream, std::span<const float> x) {
  stream.synchronize();
  return sum_squares(stream.vendor().cpu(), x);
}
int64_t count_nonfinite(CudaStream& stream, std::span<const float> x) {
  stream.synchronize();
  return count_nonfinite(stream.vendor().cpu(), x);
}

}  // namespace passnorm::kernels
