// Where tensors live.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace passnorm {

struct Device {
  enum class Kind { kCpu, kCuda };
  Kind kind = Kind::kCpu;
  int index = 0;

  static Device cpu() { return {}; }
  static Device cuda(int index = 0) { return {Kind::kCuda, index}; }
  /// The fastest device of this machine: a GPU where there is one and this build can use it, else
  /// the CPU. Never an emulated GPU.
  static Device best();

  bool operator==(const Device&) const = default;
  std::string name() const { return kind == Kind::kCpu ? "cpu" : "cuda:" + std::to_string(index); }
};

/// The GPUs that this build and this machine's driver can use.
struct GpuReport {
  struct Gpu {
    std::string name;
    int compute_major = 0, compute_minor = 0;
    int multiprocessors = 0;
    size_t memory_bytes = 0;
  };
  std::vector<Gpu> gpus;
  std::string why_none;   ///< one line when there are none: build, driver or devices
  std::string runtime;    ///< "CUDA 13.0, driver 13.0", "emulated", or empty
  bool emulated = false;  ///< on the CPU, for tests
};
GpuReport gpu_report();

}  // namespace passnorm
