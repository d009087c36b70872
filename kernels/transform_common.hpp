// What the changes of layout of both devices share: the checks of their arguments.
#pragma once

#include "kernels/runtime/check.hpp"
#include "kernels/transform.hpp"

namespace passnorm::kernels {

inline void check_transpose(int64_t batch, int64_t rows, int64_t columns, std::span<const float> x,
                            std::span<float> y) {
  const auto size = static_cast<size_t>(batch * rows * columns);
  PASSNORM_CHECK(x.size() == size && y.size() == size, "x has ", x.size(), " elements, y ",
                 y.size(), ", not ", size);
}

}  // namespace passnorm::kernels
