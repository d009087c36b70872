// The batches of a run.
#pragma once

#include "train/checkpoint.hpp"
#include "train/data/loader.hpp"
#include "train/trainer.hpp"

namespace passnorm::train {

/// The images of every step: those of the loader, and behind them the next triggers. Passes over
/// the trigger set are shuffled, begin anew with every epoch and leave out what fills no step (the
/// references' loader). A function of options, data and position: a run resumes anywhere.
class Batches {
 public:
  /// Error(kUsage) when a batch has more images than the sets.
  Batches(Stream& stream, const FitData& data, const FitOptions& options);

  int64_t steps() const { return loader_.steps(); }  ///< of an epoch
  int64_t rows() const;                              ///< images of a step
  Batch at(const Position& position);
  /// Null without triggers.
  const DeviceImages* triggers() const { return triggers_ ? &*triggers_ : nullptr; }

 private:
  const FitOptions& options_;
  DeviceImages images_;
  Loader loader_;
  std::optional<DeviceImages> triggers_;
  std::optional<Loader> trigger_loader_;
};

}  // namespace passnorm::train
