// Tensor: a shape over shared device memory.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/runtime/pinned.hpp"
#include "kernels/runtime/shape.hpp"
#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm {

/// A handle: copies share the elements. Elements are dense and row-major.
class Tensor {
 public:
  Tensor() = default;

  /// Undefined elements.
  static Tensor empty(Stream& stream, const Shape& shape, DType dtype = DType::kF32);
  /// The same, wiped when the last handle goes: for what a secret can be read from.
  static Tensor secret(Stream& stream, const Shape& shape, DType dtype = DType::kF32);
  static Tensor zeros(Stream& stream, const Shape& shape, DType dtype = DType::kF32);
  template <class T>
  static Tensor from(Stream& stream, const Shape& shape, std::span<const T> elements) {
    Tensor t = empty(stream, shape, dtype_of<T>());
    t.copy_from(stream, elements);
    return t;
  }

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t size() const { return storage_ ? shape_.size() : 0; }
  DType dtype() const { return dtype_; }

  /// Consecutive elements from `offset` on, sharing memory.
  Tensor slice(int64_t offset, const Shape& shape) const;
  Tensor reshape(const Shape& shape) const;
  /// The same bytes as elements of another type of the same size.
  Tensor bits_as(DType dtype) const;

  View view() const { return {data(), dtype_, size()}; }
  /// The elements as T, for kernels' span arguments.
  template <class T = float>
  std::span<T> span() const {
    return {view().template as<T>(), static_cast<size_t>(size())};
  }

  /// To and from host memory; waits for the stream.
  template <class T>
  void copy_from(Stream& stream, std::span<const T> elements) const {
    PASSNORM_CHECK(static_cast<int64_t>(elements.size()) == size(), elements.size(),
                   " elements for ", shape_);
    copy_bytes_from(stream, view().template as<T>(), elements.data(), elements.size_bytes());
  }
  /// Of secrets.
  template <class T>
  void copy_from(SecretStaging& staging, std::span<const T> elements) const {
    PASSNORM_CHECK(static_cast<int64_t>(elements.size()) == size(), elements.size(),
                   " elements for ", shape_);
    staging.copy_to_device(view().template as<T>(), elements.data(), elements.size_bytes());
  }
  template <class T = float>
  std::vector<T> to_host(Stream& stream) const {
    std::vector<T> out(static_cast<size_t>(size()));
    copy_bytes_to(stream, out.data(), view().template as<T>(), out.size() * sizeof(T));
    return out;
  }

 private:
  struct Storage;
  static void copy_bytes_from(Stream& stream, void* to, const void* from, size_t bytes);
  static void copy_bytes_to(Stream& stream, void* to, const void* from, size_t bytes);
  void* data() const;

  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;
  Shape shape_;
  DType dtype_ = DType::kF32;
};

}  // namespace passnorm
