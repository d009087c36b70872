// The floating storage types, and how GoogleTest prints a type.
#pragma once

#include <array>
#include <ostream>

#include "kernels/runtime/dtype.hpp"

namespace passnorm {
inline void PrintTo(DType dtype, std::ostream* out) { *out << name_of(dtype); }
}  // namespace passnorm

namespace passnorm::test {

inline constexpr std::array<DType, 3> kStorage{DType::kF32, DType::kBF16, DType::kF16};

}  // namespace passnorm::test
