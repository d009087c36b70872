#include "train/meter.hpp"

#include <cmath>

namespace passnorm::train {

bool StepNumbers::overflowed() const {
  return !applied() && loss_scale > 1 && std::isfinite(loss[0] + loss[1] + sign_loss);
}

void Meter::add(const StepNumbers& n, double step_seconds) {
  seconds += step_seconds;
  if (!n.applied()) {
    ++skipped;
    return;
  }
  for (size_t l = 0; l < loss.size(); ++l) loss[l] += n.loss[l], hits[l] += n.hits[l];
  sign_loss += n.sign_loss;
  bits = n.all_bits;
  ++steps;
}

Progress Meter::means(Lanes lanes, int64_t rows) const {
  const auto n = static_cast<double>(steps), images = n * static_cast<double>(rows);
  Progress p{.sign_loss = sign_loss / n, .bits = bits};
  if (lanes.has(Branch::kPublic)) {
    p.loss_public = loss[0] / n;
    p.accuracy_public = hits[0] / images;
  }
  if (lanes.has(Branch::kPassport)) {
    const size_t l = lanes.is_both() ? 1 : 0;
    p.loss_passport = loss[l] / n;
    p.accuracy_passport = hits[l] / images;
  }
  p.images_per_second = static_cast<double>((steps + skipped) * rows) / seconds;
  return p;
}

}  // namespace passnorm::train
