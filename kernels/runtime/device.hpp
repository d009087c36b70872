// Where tensors live.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace passnorm {

struct Device {
  enum class Kind { kCpu, kCuda };
  Kind kind = Kind::kCpu;
  int index = 0;

  static Device cpu() { return {}; }
  static Device cuda(int index = 0) { return {Kind::kCuda, index}; }
  /// The fastest device of this machine: the first GPU that this build can use, where the libraries
  /// that it needs are found, else the CPU (why_cpu in machine.hpp). Never an emulated GPU.
  static Device best();

  bool operator==(const Device&) const = default;
  std::string name() const { return kind == Kind::kCpu ? "cpu" : "cuda:" + std::to_string(index); }
};

/// Of GPUs: our kernels are written for compute capability 8.0 (Ampere) and later.
inline constexpr int kLeastComputeMajor = 8;

/// The GPUs that this machine's driver gives to this build.
struct GpuReport {
  struct Gpu {
    std::string name;
    int compute_major = 0, compute_minor = 0;
    int multiprocessors = 0;
    size_t memory_bytes = 0;
  };
  std::vector<Gpu> gpus;
  std::string why_none;   ///< one line when there are none: build or driver
  std::string runtime;    ///< "CUDA 13.0, driver 13.0", "emulated", or empty
  bool emulated = false;  ///< on the CPU, for tests

  /// One line: why cuda:index cannot be used; empty when it can.
  std::string why_not(int index) const;
  /// Error(kMachine) with that line.
  void require(int index) const;
  /// The first GPU that can be used.
  std::optional<int> first() const;
};
GpuReport gpu_report();

}  // namespace passnorm
