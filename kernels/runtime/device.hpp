// Where tensors live.
#pragma once

#include <string>

namespace passnorm {

struct Device {
  enum class Kind { kCpu, kCuda };
  Kind kind = Kind::kCpu;
  int index = 0;

  static Device cpu() { return {}; }
  /// The fastest device of this machine: a GPU where there is one and this build can use it, else
  /// the CPU.
  static Device best() { return cpu(); }

  bool operator==(const Device&) const = default;
  std::string name() const { return kind == Kind::kCpu ? "cpu" : "cuda:" + std::to_string(index); }
};

}  // namespace passnorm
