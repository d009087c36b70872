// A stream of an NVIDIA GPU. Plain C++: no CUDA header, so that every floor may name it.
// Native builds implement it in kernels/cuda/stream.cpp; PASSNORM_CUDA=EMULATED builds run the same
// kernels on the CPU, for tests (tests/emulator/stream.cpp).
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/runtime/device.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/stream.hpp"

namespace passnorm {

class CudaStream final : public Stream {
 public:
  /// Error(kMachine) without such a device, or when our kernels cannot run on it; Error(kUsage) for
  /// the legacy default stream.
  explicit CudaStream(int index = 0, StreamOptions options = {});
  ~CudaStream() override;

  /// The cudaStream_t.
  void* handle() const { return handle_; }
  /// What grids of kernels that walk over their data are made from.
  int multiprocessors() const { return multiprocessors_; }
  size_t l2_bytes() const { return l2_bytes_; }
  int engines() const { return engines_; }                           ///< StreamOptions::engines
  bool epilogue_statistics() const { return epilogue_statistics_; }  ///< of StreamOptions

  void copy_to_device(void* to, const void* from, size_t bytes) override;
  void copy_to_host(void* to, const void* from, size_t bytes) override;
  void fill_bytes(void* to, int byte, size_t bytes) override;
  void synchronize() override;
  /// Inside device memory, by the driver: what benches hold kernels against.
  void copy_on_device(void* to, const void* from, size_t bytes);

  /// Counters of a launch, all zero: the last block to arrive at one ends the work of the others
  /// and sets it back to zero. Launches of a stream follow each other, so all share these.
  static constexpr int kTickets = 4096;
  unsigned* tickets() const { return tickets_; }

  /// From begin_capture to end_capture work is recorded, not done (CapturedWork).
  void begin_capture();
  std::shared_ptr<void> end_capture();
  void abandon_capture();  ///< after an error
  void replay(const std::shared_ptr<void>& graph);
  static size_t nodes(const std::shared_ptr<void>& graph);

  /// Page-locked host memory, and events (PinnedBytes, Event).
  static std::byte* allocate_pinned(size_t bytes);
  static void free_pinned(std::byte* block);
  static void* make_event();
  static void destroy_event(void* event);
  void record_event(void* event);
  static void wait_for_event(void* event);
  static double milliseconds_between(void* from, void* to);

  struct Vendor;  ///< cuDNN and cuBLASLt handles and plans (kernels/cuda/vendor.hpp); made when
                  ///< used
  Vendor& vendor();

 private:
  CudaStream(int index, StreamOptions&& options, std::shared_ptr<void> owner);
  void* handle_ = nullptr;
  int multiprocessors_ = 1;
  size_t l2_bytes_ = 0;
  int engines_;
  bool epilogue_statistics_;
  unsigned* tickets_ = nullptr;
  std::shared_ptr<void> owner_;  ///< of handle_, with the pool: tensors may outlive the stream
  std::unique_ptr<Vendor> vendor_;
};

}  // namespace passnorm
