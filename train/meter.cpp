#include "train/meter.hpp"

#include <cmath>

namespace passnorm::train {

StepNumbers::StepNumbers(const Model& model, const StepResult& r) {
  Stream& stream = model.stream();
  const auto losses = r.losses.loss.to_host(stream);
  const auto rows = r.losses.hits.to_host<int32_t>(stream);
  for (size_t l = 0; l < losses.size(); ++l) loss[l] = losses[l], hits[l] = rows[l];
  if (!r.signs.loss) return;
  for (const float v : r.signs.loss.to_host(stream)) sign_loss += v;
  double right = 0, total = 0;
  for (const int32_t matched : r.signs.matched.to_host<int32_t>(stream)) {
    const auto channels = static_cast<double>(model.sites()[bits.size()].channels());
    bits.push_back(matched / channels);
    right += matched;
    total += channels;
  }
  all_bits = right / total;
}

bool StepNumbers::finite() const { return std::isfinite(loss[0] + loss[1] + sign_loss); }

void Meter::add(const StepNumbers& n) {
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
