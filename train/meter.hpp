// What steps gave, on the host, and its means.
#pragma once

#include <array>
#include <vector>

#include "train/step.hpp"
#include "train/trainer.hpp"

namespace passnorm::train {

/// Of one step.
struct StepNumbers {
  Position position;
  std::array<double, 2> loss{}, hits{};  ///< per lane of the logits
  double sign_loss = 0;                  ///< summed over sites
  std::vector<double> bits = {};         ///< share of right signs per site
  double all_bits = 0;                   ///< of all sites together
  kernels::UpdateState update;           ///< after the step
  float loss_scale = 1;                  ///< in the step

  bool applied() const { return update.apply != 0; }
  /// Not applied because scaled gradients overflowed, which a smaller scale cures.
  bool overflowed() const;
};

/// Sums over the steps of a stretch; a skipped step counts for the speed only.
struct Meter {
  std::array<double, 2> loss{}, hits{};
  double sign_loss = 0, seconds = 0;
  double bits = 0;  ///< of the last step
  int64_t steps = 0, skipped = 0;

  void add(const StepNumbers& step, double step_seconds);
  /// rows: images of a step. NaN when every step was skipped.
  Progress means(Lanes lanes, int64_t rows) const;
};

}  // namespace passnorm::train
