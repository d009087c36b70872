// The training loop.
#pragma once

#include <functional>
#include <optional>

#include "train/evaluate.hpp"
#include "train/optimizer.hpp"
#include "train/schedule.hpp"
#include "train/step.hpp"

namespace passnorm::train {

struct FitOptions {
  int64_t epochs = 200;
  int64_t batch = 64;
  OptimizerOptions optimizer;
  Schedule schedule;
  LossOptions loss;
  float clip_norm = 0;   ///< largest norm of the gradient; 0 = no limit
  int64_t crop_pad = 4;  ///< augmentation: random crop of the image padded by this many pixels
  bool flip = true;      ///< augmentation: horizontal flip
  uint64_t seed = 1;     ///< of order and augmentation
  double progress_seconds = 1;  ///< between progress reports
  int64_t max_skipped =
      10;  ///< this many gradients in a row that are not finite end the run (Error kNumerics)
};

/// What a stretch of steps gave, averaged.
struct Progress {
  int64_t epoch = 0;       ///< from 0
  int64_t step = 0;        ///< finished steps of this epoch
  int64_t steps = 0;       ///< of an epoch
  double loss_public = 0;  ///< cross-entropy; 0 where the branch does not exist
  double loss_passport = 0;
  double sign_loss = 0;        ///< summed over sites
  double accuracy_public = 0;  ///< on the augmented training images
  double accuracy_passport = 0;
  double bits = 0;  ///< share of right signs at the last step, 1 for all
  double images_per_second = 0;
  float lr = 0;
};

/// One finished epoch.
struct EpochReport {
  Progress train;            ///< over the whole epoch
  std::vector<double> bits;  ///< share of right signs per site, at the last step
  std::optional<Evaluation> test;
  double seconds = 0;  ///< training, without evaluation
  int64_t skipped_steps = 0;
};

struct Callbacks {
  std::function<void(const Progress&)> progress;
  std::function<void(const EpochReport&)> epoch;
};

/// Trains in place: both branches in one forward and one update. passport: null for scheme none.
/// test: may be null. Error(kNumerics) when an epoch leaves weights that are NaN or infinite.
void fit(Model& model, const Passport* passport, const ImageSet& data, const ImageSet* test,
         const FitOptions& options, const Callbacks& callbacks = {});

}  // namespace passnorm::train
