// The batches of a run.
#pragma once

#include "train/checkpoint.hpp"
#include "train/data/loader.hpp"
#include "train/trainer.hpp"

namespace passnorm::train {

/// The images of every step: those of the loader, and behind them the next triggers. Passes over
/// the trigger set are shuffled, begin anew with every epoch and leave out what fills no step (the
/// references' loader). Trigger clouds are augmented as the others are, trigger images are not. A
/// function of options, data and position: a run resumes anywhere.
class Batches {
 public:
  /// Error(kUsage) when a batch has more images than the sets.
  Batches(Stream& stream, const FitData& data, const FitOptions& options);

  int64_t steps() const { return loader_.steps(); }  ///< of an epoch
  int64_t rows() const;                              ///< images of a step
  const Shape& example() const { return images_.example(); }
  /// Of a position's step in the run, from 0, modulo 2^32.
  uint32_t number(const Position& p) const {
    return static_cast<uint32_t>(p.epoch * steps() + p.step);
  }
  Batch at(const Position& position);
  /// The same in three parts, of which the last waits for nothing: the numbers of a step's images
  /// (`to` [rows]), memory for a batch, and the batch of numbers that are on the device.
  void choose(const Position& position, std::span<int64_t> to);
  Batch empty() const { return images_.empty_batch(rows(), options_.precision); }
  void fill(const Batch& batch, const Tensor& index, DeviceValue<uint32_t> epoch) const;
  /// Null without triggers.
  const DeviceDataset* triggers() const { return triggers_ ? &*triggers_ : nullptr; }

 private:
  Stream& stream_;
  const FitOptions& options_;
  DeviceDataset images_;
  Loader loader_;
  std::optional<DeviceDataset> triggers_;
  std::optional<Loader> trigger_loader_;
};

}  // namespace passnorm::train
