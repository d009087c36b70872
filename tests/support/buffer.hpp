// Memory for one argument of a kernel: poisoned before, guarded on both sides, checked after.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "kernels/runtime/view.hpp"
#include "tests/support/device_memory.hpp"
#include "tests/support/forbid.hpp"

namespace passnorm::test {

/// Elements of a run-time type. An output starts as 0xFF bytes (NaN, -1); an input may not change.
/// Both stand between guard bytes, and one element off a cache line: parameters stand anywhere in
/// an arena. For GPUs those of whole 16 bytes start at a multiple of 16, so that kernels are met
/// with and without vectors. The destructor reports damage.
class Buffer {
 public:
  Buffer() = default;
  /// An output of n elements.
  Buffer(DType dtype, int64_t n) : dtype_(dtype), size_(n), writable_(true) {
    const size_t bytes = static_cast<size_t>(n) * size_of(dtype);
    const size_t offset = kCuda && bytes % 16 == 0 ? 0 : size_of(dtype);
    settle();
    storage_.assign(kGuard + offset + bytes + kGuard + kLine, kGuardByte);
    const size_t misfit = reinterpret_cast<uintptr_t>(storage_.data()) % kLine;
    begin_ = kGuard + (kLine - misfit) % kLine + offset;
    std::memset(data(), 0xFF, bytes);
    forbid(storage_.data(), begin_);
    forbid(data() + bytes, storage_.size() - begin_ - bytes);
  }
  /// An input, or an output with contents once `write` was called: the values rounded to dtype.
  Buffer(DType dtype, const std::vector<double>& values)
      : Buffer(dtype, static_cast<int64_t>(values.size())) {
    writable_ = false;
    for (int64_t i = 0; i < size_; ++i) set(i, values[static_cast<size_t>(i)]);
    original_ = bits();
  }
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(storage_, other.storage_);
    std::swap(original_, other.original_);
    std::swap(dtype_, other.dtype_);
    std::swap(begin_, other.begin_);
    std::swap(size_, other.size_);
    std::swap(writable_, other.writable_);
    return *this;
  }
  ~Buffer() {
    if (storage_.empty()) return;
    settle();
    allow(storage_.data(), storage_.size());
    const size_t end = begin_ + bytes();
    for (size_t i = 0; i < storage_.size(); ++i)
      if ((i < begin_ || i >= end) && storage_[i] != kGuardByte) {
        ADD_FAILURE() << "byte " << static_cast<int64_t>(i) - static_cast<int64_t>(begin_)
                      << " beside a buffer of " << size_ << " " << name_of(dtype_)
                      << " was overwritten";
        break;
      }
    if (!writable_ && bits() != original_)
      ADD_FAILURE() << "an input of " << size_ << " " << name_of(dtype_) << " was changed";
  }

  DType dtype() const { return dtype_; }
  int64_t size() const { return size_; }

  /// What a kernel reads, and may write; views of an empty buffer are empty.
  ConstView read() const {
    settle();  // the caller may be the test
    results_are_due() = true;
    return size_ ? ConstView(data(), dtype_, size_) : ConstView();
  }
  View write() {
    settle();
    results_are_due() = writable_ = true;
    return size_ ? View(data(), dtype_, size_) : View();
  }
  template <class T>
  std::span<const T> read_as() const {
    return size_ ? std::span<const T>(read().as<T>(), static_cast<size_t>(size_))
                 : std::span<const T>();
  }
  template <class T>
  std::span<T> write_as() {
    const View v = write();
    return size_ ? std::span<T>(v.as<T>(), static_cast<size_t>(size_)) : std::span<T>();
  }

  double operator[](int64_t i) const {
    settle();
    switch (dtype_) {
      case DType::kF32:
        return at<float>(i);
      case DType::kBF16:
        return static_cast<float>(at<bfloat16>(i));
      case DType::kF16:
        return static_cast<float>(at<float16>(i));
      case DType::kF64:
        return at<double>(i);
      case DType::kU8:
        return at<uint8_t>(i);
      case DType::kI8:
        return at<int8_t>(i);
      case DType::kI32:
        return at<int32_t>(i);
      case DType::kI64:
        return static_cast<double>(at<int64_t>(i));
    }
    return 0;
  }
  std::vector<double> values() const {
    std::vector<double> v(static_cast<size_t>(size_));
    for (int64_t i = 0; i < size_; ++i) v[static_cast<size_t>(i)] = (*this)[i];
    return v;
  }
  std::vector<std::byte> bits() const {
    if (storage_.empty()) return {};
    settle();
    return {storage_.begin() + static_cast<ptrdiff_t>(begin_),
            storage_.begin() + static_cast<ptrdiff_t>(begin_ + bytes())};
  }

 private:
  static constexpr size_t kGuard = 64, kLine = 64;
  static constexpr std::byte kGuardByte{0xA5};
#if PASSNORM_TEST_CUDA
  static constexpr bool kCuda = true;
#else
  static constexpr bool kCuda = false;
#endif

  std::byte* data() { return storage_.data() + begin_; }
  const std::byte* data() const { return storage_.data() + begin_; }
  size_t bytes() const { return static_cast<size_t>(size_) * size_of(dtype_); }
  template <class T>
  T at(int64_t i) const {
    T v;
    std::memcpy(&v, data() + static_cast<size_t>(i) * sizeof(T), sizeof(T));
    return v;
  }
  template <class T>
  void put(int64_t i, T v) {
    std::memcpy(data() + static_cast<size_t>(i) * sizeof(T), &v, sizeof(T));
  }
  void set(int64_t i, double v) {
    switch (dtype_) {
      case DType::kF32:
        return put(i, static_cast<float>(v));
      case DType::kBF16:
        return put(i, bfloat16(static_cast<float>(v)));
      case DType::kF16:
        return put(i, float16(static_cast<float>(v)));
      case DType::kF64:
        return put(i, v);
      case DType::kU8:
        return put(i, static_cast<uint8_t>(v));
      case DType::kI8:
        return put(i, static_cast<int8_t>(v));
      case DType::kI32:
        return put(i, static_cast<int32_t>(v));
      case DType::kI64:
        return put(i, static_cast<int64_t>(v));
    }
  }

  std::vector<std::byte, ManagedAllocator<std::byte>> storage_;
  std::vector<std::byte> original_;
  DType dtype_ = DType::kF32;
  size_t begin_ = 0;
  int64_t size_ = 0;
  bool writable_ = false;
};

}  // namespace passnorm::test
