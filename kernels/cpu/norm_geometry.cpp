#include <cmath>

#include "kernels/cpu/norm_blocks.hpp"

namespace passnorm::kernels {

void norm_coefficients(const NormGeometry& g, const NormLane& lane, int64_t block,
                       float* multiplier, float* addend) {
  const float* mean = lane.mean.data() + block * g.groups;
  const float* rstd = lane.rstd.data() + block * g.groups;
  spread_groups(g, rstd, multiplier);
  if (!lane.scale.empty())
    for (int64_t c = 0; c < g.channels; ++c) multiplier[c] *= lane.scale[static_cast<size_t>(c)];
  spread_groups(g, mean, addend);
  if (lane.shift.empty())
    for (int64_t c = 0; c < g.channels; ++c) addend[c] *= -multiplier[c];
  else
    for (int64_t c = 0; c < g.channels; ++c)
      addend[c] = lane.shift[static_cast<size_t>(c)] - addend[c] * multiplier[c];
}

void spread_groups(const NormGeometry& g, const float* groups, float* channels) {
  const int64_t width = g.channels / g.groups;
  if (width == 1) {
    std::copy_n(groups, g.channels, channels);
    return;
  }
  for (int64_t i = 0; i < g.groups; ++i) std::fill_n(channels + i * width, width, groups[i]);
}

void norm_update_running(CpuStream&, const NormUpdateRunning& a) {
  check(a);
  const double count = static_cast<double>(a.count);
  const auto unbiased = static_cast<float>(a.count > 1 ? count / (count - 1) : 1.0);
  const float keep = 1 - a.momentum;
  for (size_t c = 0; c < a.mean.size(); ++c) {
    a.running_mean[c] = keep * a.running_mean[c] + a.momentum * a.mean[c];
    a.running_var[c] = keep * a.running_var[c] + a.momentum * unbiased * a.var[c];
  }
}

void norm_rstd(CpuStream&, const NormRstd& a) {
  check(a);
  for (size_t c = 0; c < a.var.size(); ++c) a.rstd[c] = 1 / std::sqrt(a.var[c] + a.eps);
}

}  // namespace passnorm::kernels
