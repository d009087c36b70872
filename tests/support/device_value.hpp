// A value in memory that a test and the kernels both read and write.
#pragma once

#include <vector>

#include "tests/support/device_memory.hpp"

namespace passnorm::test {

template <class T>
class InDeviceMemory {
 public:
  explicit InDeviceMemory(const T& value) : value_(1, value) {}
  /// For kernels.
  T* at() {
    settle();
    results_are_due() = true;
    return value_.data();
  }
  /// For the test.
  const T& get() {
    settle();
    return value_[0];
  }

 private:
  std::vector<T, ManagedAllocator<T>> value_;
};

}  // namespace passnorm::test
