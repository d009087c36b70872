// The training loop.
#pragma once

#include <functional>
#include <optional>

#include "train/checkpoint.hpp"
#include "train/evaluate.hpp"
#include "train/optimizer.hpp"
#include "train/schedule.hpp"
#include "train/step.hpp"

namespace passnorm::train {

/// Images or clouds that a run sees. All fit the model (check_fits).
struct FitData {
  const Dataset& train;
  const Dataset* test = nullptr;  ///< evaluated after every epoch
  /// Mixed into every batch behind the training data, clouds with augmentation, images without:
  /// with labels that only the owner's network learns (DeepIPR V3; any scheme may have them).
  const Dataset* triggers = nullptr;
};

struct FitOptions {
  int64_t epochs = 200;
  int64_t batch = 64;
  /// Storage of activations and their gradients: kF32, kBF16 or kF16. Weights, statistics, logits,
  /// losses and the optimiser's moments are f32 in all. With kF16 the losses' gradients are scaled:
  /// by 2^16 at first, half of that whenever a gradient overflows (the step is skipped), twice as
  /// much after 2000 steps without.
  DType precision = DType::kF32;
  OptimizerOptions optimizer;
  Schedule schedule;
  LossOptions loss;
  float clip_norm = 0;   ///< largest norm of the gradient; 0 = no limit
  int64_t crop_pad = 4;  ///< augmentation: random crop of the image padded by this many pixels
  bool flip = true;      ///< augmentation: horizontal flip
  /// augmentation of clouds: points dropped, scaled and shifted (kernels/augment_points.hpp)
  bool augment_points = true;
  uint64_t seed = 1;  ///< of order, augmentation and dropout
  int64_t triggers_per_batch = 2;
  double progress_seconds = 1;  ///< between progress reports
  int64_t max_skipped =
      10;  ///< this many steps in a row that are not finite end the run (Error kNumerics)
  /// Ends with the weights of the epoch whose mean test accuracy over branches was best, the first
  /// of equals (the references' choice); else with the last. Needs FitData::test.
  bool keep_best = false;
  CheckpointOptions checkpoint;
};

/// What a stretch of steps gave, averaged.
struct Progress {
  int64_t epoch = 0;       ///< from 0
  int64_t step = 0;        ///< finished steps of this epoch
  int64_t steps = 0;       ///< of an epoch
  double loss_public = 0;  ///< cross-entropy; 0 where the branch does not exist
  double loss_passport = 0;
  double sign_loss = 0;        ///< summed over sites
  double accuracy_public = 0;  ///< on the augmented training data
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
  std::optional<Evaluation> triggers;  ///< over the whole trigger set
  double seconds = 0;                  ///< training, without evaluation
  int64_t skipped_steps = 0;
};

struct Callbacks {
  std::function<void(const Progress&)> progress;
  /// Before the epoch's checkpoint is written: a run that is killed in between and resumed reports
  /// this epoch again.
  std::function<void(const EpochReport&)> epoch;
  /// Asked after every step. True: the steps that are under way end, a checkpoint is written, then
  /// fit throws Error(kStopped).
  std::function<bool()> stop;
  /// One line for the user: resumed from where, a checkpoint that was damaged, what was not finite,
  /// what the device's libraries do not offer (Stream::notes).
  std::function<void(const std::string&)> note;
};

/// Trains in place: both branches in one forward and one update. passport: null for scheme none.
/// Returns the report of the epoch whose weights the model has. With a checkpoint folder a run that
/// was stopped or killed is resumed at its last checkpoint, and ends with the same bits in weights,
/// statistics and reports (but for times) as one that ran through. Errors: kUsage for options and
/// data that do not fit; kNumerics when steps or an epoch's weights are not finite; kInput when no
/// checkpoint is whole; kStopped on request.
EpochReport fit(Model& model, const Passport* passport, const FitData& data,
                const FitOptions& options, const Callbacks& callbacks = {});

}  // namespace passnorm::train
