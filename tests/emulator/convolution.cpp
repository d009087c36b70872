// The contracts of kernels/convolution.hpp in emulated builds.
#include "kernels/convolution.hpp"

#include "tests/emulator/queue.hpp"
#include "tests/emulator/vendor.hpp"

namespace passnorm::kernels {

using emulator::queue_of;

bool convolves(CudaStream& stream, DType dtype) { return convolves(stream.vendor().cpu(), dtype); }
void conv_forward(CudaStream& stream, const ConvForward& a) {
  queue_of(stream.handle()).add([&cpu = stream.vendor().cpu(), a] { conv_forward(cpu, a); });
}
void conv_backward_data(CudaStream& stream, const ConvBackwardData& a) {
  queue_of(stream.handle()).add([&cpu = stream.vendor().cpu(), a] { conv_backward_data(cpu, a); });
}
void conv_backward_weight(CudaStream& stream, const ConvBackwardWeight& a) {
  queue_of(stream.handle()).add([&cpu = stream.vendor().cpu(), a] {
    conv_backward_weight(cpu, a);
  });
}

}  // namespace passnorm::kernels
