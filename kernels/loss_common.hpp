// What the loss kernels of both devices share: the checks of their arguments.
#pragma once

#include "kernels/loss.hpp"

namespace passnorm::kernels {

/// All but the labels, which may be in a device's memory.
inline void check(const CrossEntropy& a) {
  const auto rows = static_cast<size_t>(a.rows), lanes = static_cast<size_t>(a.lanes);
  const size_t logits = lanes * rows * static_cast<size_t>(a.classes);
  PASSNORM_CHECK(a.lanes > 0 && a.rows > 0 && a.classes > 0, a.lanes, " lanes, ", a.rows, " rows, ",
                 a.classes, " classes");
  PASSNORM_CHECK(a.logits.size() == logits, a.logits.size(), " logits, not ", logits);
  PASSNORM_CHECK(a.dlogits.empty() || a.dlogits.size() == logits, a.dlogits.size(),
                 " gradients, not ", logits);
  PASSNORM_CHECK(a.labels.size() == rows, a.labels.size(), " labels of ", rows, " rows");
  PASSNORM_CHECK(a.loss.size() == lanes && a.hits.size() == lanes, "results for ", a.loss.size(),
                 " lanes, not ", lanes);
}

}  // namespace passnorm::kernels
