// Shape: up to four sizes, the fastest-moving one last.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>

#include "kernels/runtime/check.hpp"

namespace passnorm {

/// Activations are [N, H, W, C] or [N, C]; convolution weights [O, KH, KW, I]; vectors [C].
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) {
    PASSNORM_CHECK(sizes.size() <= kMaxRank, "a shape has at most 4 sizes, not ", sizes.size());
    for (int64_t s : sizes) push_back(s);
  }

  void push_back(int64_t size) {
    PASSNORM_CHECK(rank_ < kMaxRank && size >= 0, "size ", size, " at position ", rank_);
    sizes_[static_cast<size_t>(rank_++)] = size;
  }
  int rank() const { return rank_; }
  /// i counts from the front, or with a negative value from the back.
  int64_t operator[](int i) const {
    const int k = i < 0 ? i + rank_ : i;
    PASSNORM_CHECK(k >= 0 && k < rank_, "size ", i, " of a shape of rank ", rank_);
    return sizes_[static_cast<size_t>(k)];
  }
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= sizes_[static_cast<size_t>(i)];
    return n;
  }
  /// The same shape with another first size.
  Shape with_rows(int64_t rows) const {
    Shape s = *this;
    PASSNORM_CHECK(rank_ > 0, "a scalar has no rows");
    s.sizes_[0] = rows;
    return s;
  }
  bool operator==(const Shape& other) const = default;

  friend std::ostream& operator<<(std::ostream& out, const Shape& s) {
    out << '[';
    for (int i = 0; i < s.rank_; ++i) out << (i ? "," : "") << s.sizes_[static_cast<size_t>(i)];
    return out << ']';
  }

 private:
  std::array<int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

}  // namespace passnorm
