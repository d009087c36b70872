#include "kernels/runtime/pinned.hpp"

#include <chrono>

#include "kernels/runtime/check.hpp"

namespace passnorm {

#if PASSNORM_WITH_CUDA
namespace {
bool on_gpu(Device device) { return device.kind == Device::Kind::kCuda; }
CudaStream& cuda(Stream& stream) { return static_cast<CudaStream&>(stream); }
}  // namespace
#endif

PinnedBytes::PinnedBytes(Stream& stream, size_t bytes) : device_(stream.device()), bytes_(bytes) {
#if PASSNORM_WITH_CUDA
  if (on_gpu(device_)) {
    data_ = CudaStream::allocate_pinned(bytes);
    return;
  }
#endif
  data_ = new std::byte[bytes]();
}

PinnedBytes::~PinnedBytes() {
#if PASSNORM_WITH_CUDA
  if (on_gpu(device_)) {
    CudaStream::free_pinned(data_);
    return;
  }
#endif
  delete[] data_;
}

Event::Event(Stream& stream) : stream_(stream) {
#if PASSNORM_WITH_CUDA
  if (on_gpu(stream.device())) handle_ = CudaStream::make_event();
#endif
}

Event::~Event() {
#if PASSNORM_WITH_CUDA
  if (handle_ != nullptr) CudaStream::destroy_event(handle_);
#endif
}

void Event::record() {
  recorded_ = true;
#if PASSNORM_WITH_CUDA
  if (handle_ != nullptr) return cuda(stream_).record_event(handle_);
#endif
  host_time_ =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
          .count();
}

bool Event::reached() const {
#if PASSNORM_WITH_CUDA
  if (recorded_ && handle_ != nullptr) return CudaStream::event_reached(handle_);
#endif
  return true;
}

void Event::wait() const {
#if PASSNORM_WITH_CUDA
  if (recorded_ && handle_ != nullptr) CudaStream::wait_for_event(handle_);
#endif
}

double Event::milliseconds(const Event& from, const Event& to) {
  PASSNORM_CHECK(from.recorded_ && to.recorded_, "time between events that were not recorded");
#if PASSNORM_WITH_CUDA
  if (from.handle_ != nullptr) return CudaStream::milliseconds_between(from.handle_, to.handle_);
#endif
  return to.host_time_ - from.host_time_;
}

}  // namespace passnorm
