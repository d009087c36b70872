// Values that go between host and device with every step, without a wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "kernels/runtime/stream.hpp"

namespace passnorm {

/// Page-locked host memory on a machine with a GPU (copies of it run beside the host), plain memory
/// on the CPU.
class PinnedBytes {
 public:
  PinnedBytes(Stream& stream, size_t bytes);
  ~PinnedBytes();
  PinnedBytes(const PinnedBytes&) = delete;
  PinnedBytes& operator=(const PinnedBytes&) = delete;
  std::span<std::byte> bytes() const { return {data_, bytes_}; }

 private:
  Device device_;
  std::byte* data_;
  size_t bytes_;
};

/// A point in a stream.
class Event {
 public:
  explicit Event(Stream& stream);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record();         ///< here
  bool reached() const;  ///< true before the first record
  void wait() const;     ///< the host waits
  /// Between the last records of two events: milliseconds on the device's clock.
  static double milliseconds(const Event& from, const Event& to);

 private:
  Stream& stream_;
  void* handle_ = nullptr;
  double host_time_ = 0;  ///< on the CPU
  bool recorded_ = false;
};

}  // namespace passnorm
