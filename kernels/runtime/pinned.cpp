#include "kernels/runtime/pinned.hpp"

#include <chrono>
#include <cstring>
#include <utility>

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

SecretStaging::SecretStaging(Stream& stream, size_t bytes) : stream_(stream) {
  if (stream.device().kind != Device::Kind::kCpu && bytes > 0) staging_.emplace(stream, bytes);
}

SecretStaging::~SecretStaging() {
  if (!staging_) return;
  try {
    stream_.synchronize();
  } catch (...) {  // the device's fault was or will be reported by whoever needs a result
  }
  explicit_bzero(staging_->bytes().data(), staging_->bytes().size());
}

std::byte* SecretStaging::part(size_t bytes) {
  const size_t room = staging_ ? staging_->bytes().size() - used_ : 0;
  PASSNORM_CHECK(bytes <= room, bytes, " bytes of secrets where there is room for ", room);
  return staging_->bytes().data() + std::exchange(used_, used_ + bytes);
}

void SecretStaging::copy_to_device(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;  // no elements: no addresses
  if (stream_.device().kind == Device::Kind::kCpu) return stream_.copy_to_device(to, from, bytes);
  std::byte* const staged = part(bytes);
  std::memcpy(staged, from, bytes);
  stream_.copy_to_device(to, staged, bytes);
}

void SecretStaging::copy_to_host(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  if (stream_.device().kind == Device::Kind::kCpu) return stream_.copy_to_host(to, from, bytes);
  std::byte* const staged = part(bytes);
  stream_.copy_to_host(staged, from, bytes);
  stream_.synchronize();
  std::memcpy(to, staged, bytes);
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
