// Values that go between host and device with every step, without a wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
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

/// The way of secrets between host memory and a GPU's: through page-locked memory that is wiped in
/// the end. Copies of other host memory go through buffers of the driver, which nobody wipes. On
/// the CPU there is nothing in between.
class SecretStaging {
 public:
  /// bytes: of all copies together.
  SecretStaging(Stream& stream, size_t bytes);
  /// Waits until the copies are done, then wipes.
  ~SecretStaging();
  SecretStaging(const SecretStaging&) = delete;
  SecretStaging& operator=(const SecretStaging&) = delete;

  /// In stream order; `from` is free for other use when it returns.
  void copy_to_device(void* to, const void* from, size_t bytes);
  /// Waits.
  void copy_to_host(void* to, const void* from, size_t bytes);

 private:
  std::byte* part(size_t bytes);  ///< the next

  Stream& stream_;
  std::optional<PinnedBytes> staging_;  ///< of a GPU
  size_t used_ = 0;
};

/// A point in a stream.
class Event {
 public:
  explicit Event(Stream& stream);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record();      ///< here
  void wait() const;  ///< the host waits; for nothing before the first record
  /// Between the last records of two events: milliseconds on the device's clock.
  static double milliseconds(const Event& from, const Event& to);

 private:
  Stream& stream_;
  void* handle_ = nullptr;
  double host_time_ = 0;  ///< on the CPU
  bool recorded_ = false;
};

}  // namespace passnorm
