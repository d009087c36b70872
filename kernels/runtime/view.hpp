// Views: what kernels are given. Pointer, type and element count; the shape stands in the argument
// struct.
#pragma once

#include <span>

#include "kernels/runtime/dtype.hpp"

namespace passnorm {

/// Read-only elements of a run-time type.
struct ConstView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t size = 0;

  ConstView() = default;
  ConstView(const void* d, DType t, int64_t n) : data(d), dtype(t), size(n) {}
  template <class T>
  ConstView(std::span<T> s)  // NOLINT: a span is a view
      : data(s.data()),
        dtype(dtype_of<std::remove_const_t<T>>()),
        size(static_cast<int64_t>(s.size())) {}

  template <class T>
  const T* as() const {
    PASSNORM_CHECK(dtype == dtype_of<T>(), "a view of ", name_of(dtype), " was read as ",
                   name_of(dtype_of<T>()));
    return static_cast<const T*>(data);
  }
  explicit operator bool() const { return data != nullptr; }
};

/// Writable elements of a run-time type.
struct View {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t size = 0;

  View() = default;
  View(void* d, DType t, int64_t n) : data(d), dtype(t), size(n) {}
  template <class T>
  View(std::span<T> s)  // NOLINT: a span is a view
      : data(s.data()), dtype(dtype_of<T>()), size(static_cast<int64_t>(s.size())) {}
  operator ConstView() const { return {data, dtype, size}; }  // NOLINT: reading what may be written

  template <class T>
  T* as() const {
    PASSNORM_CHECK(dtype == dtype_of<T>(), "a view of ", name_of(dtype), " was written as ",
                   name_of(dtype_of<T>()));
    return static_cast<T*>(data);
  }
  explicit operator bool() const { return data != nullptr; }
};

/// A number that a kernel is given now, or one that it reads from device memory when it runs: a
/// recorded step is replayed with other numbers.
template <class T>
struct DeviceValue {
  T value{};
  const T* at = nullptr;  ///< device memory; null: `value`

  DeviceValue(T v = {}) : value(v) {}             // NOLINT: a number is a value
  DeviceValue(const T* pointer) : at(pointer) {}  // NOLINT: so is its place
  PASSNORM_HOST_DEVICE T get() const { return at != nullptr ? *at : value; }
};

}  // namespace passnorm
