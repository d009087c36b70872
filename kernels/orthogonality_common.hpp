// What the orthogonality losses of both devices share: the check of their arguments.
#pragma once

#include "kernels/orthogonality.hpp"

namespace passnorm::kernels {

inline void check(const OrthogonalityLoss& a) {
  PASSNORM_CHECK(a.lanes > 0 && a.rows > 0 && a.size > 0 && a.size <= OrthogonalityLoss::kMaxSize,
                 a.lanes, " lanes of ", a.rows, " transforms of size ", a.size);
  const auto elements = static_cast<size_t>(a.lanes * a.rows * a.size * a.size);
  PASSNORM_CHECK(a.t.size() == elements, "t has ", a.t.size(), " elements, not ", elements);
  PASSNORM_CHECK(a.dt.empty() || a.dt.size() == elements, "dt has ", a.dt.size(), " elements, not ",
                 elements);
  PASSNORM_CHECK(a.loss.size() == static_cast<size_t>(a.lanes), a.loss.size(), " losses of ",
                 a.lanes, " lanes");
}

}  // namespace passnorm::kernels
