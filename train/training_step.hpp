// The training step as work that repeats: all on the device, numbers come later.
#pragma once

#include <memory>
#include <optional>

#include "kernels/runtime/graph.hpp"
#include "kernels/runtime/pinned.hpp"
#include "train/batches.hpp"
#include "train/meter.hpp"

namespace passnorm::train {

/// A step reads what changes (images, learning rate, epoch, step) from one block of device memory
/// and writes what it gives to another, so that on a GPU it is recorded once and replayed: the host
/// copies a block in, starts the step, has a block copied out, and goes on. Several steps may be
/// under way; their blocks on the host are a ring of page-locked slots.
///
/// The gradient is that of the losses times UpdateState::loss_scale. A step whose losses or
/// gradient are NaN or infinite updates nothing and takes back what it did to the running
/// statistics.
class TrainingStep {
 public:
  TrainingStep(Model& model, const OpenPassport* passport, Batches& batches,
               const FitOptions& options);
  /// Waits for the steps under way: they write to what goes now.
  ~TrainingStep();
  TrainingStep(const TrainingStep&) = delete;
  TrainingStep& operator=(const TrainingStep&) = delete;

  /// Starts the step of a position. Not when full().
  void start(const Position& position, float lr);
  /// Waits for the oldest step under way.
  StepNumbers finish();
  bool full() const { return started_ - finished_ == static_cast<int64_t>(slots_.size()); }
  bool idle() const { return started_ == finished_; }
  /// Of a recorded step; 0 before it is recorded, and on the CPU.
  size_t nodes() const { return recorded_ ? recorded_->nodes() : 0; }

  /// While idle.
  kernels::UpdateState state() const { return optimizer_.state(); }
  void set_state(const kernels::UpdateState& state);
  const Optimizer& optimizer() const { return optimizer_; }
  /// The running statistics before the last step that was started.
  const Tensor& kept_buffers() const { return kept_buffers_; }

 private:
  struct Slot;
  /// Behind the images' numbers in the block that comes in.
  struct Scalars {
    float lr;
    uint32_t epoch;
    uint32_t step;  ///< of the run, modulo 2^32
    uint32_t unused = 0;
  };
  static constexpr int64_t kScalarWords = sizeof(Scalars) / sizeof(int64_t);
  void work();
  /// What a record of work() refers to.
  CapturedMemory memory() const;

  Model& model_;
  const OpenPassport* passport_;
  Batches& batches_;
  const FitOptions& options_;
  Lanes lanes_;
  Batch batch_;
  Tensor input_;   ///< [rows] i64, then Scalars
  Tensor output_;  ///< UpdateState, losses, hits, sign losses, matched bits: 4 bytes each
  StepResult to_;  ///< parts of output_
  Tensor kept_buffers_;
  Optimizer optimizer_;
  MemoryPlan plan_;
  std::optional<CapturedWork> recorded_;
  std::vector<std::unique_ptr<Slot>> slots_;
  int64_t started_ = 0, finished_ = 0;
  float loss_scale_ = 1;  ///< of the oldest step under way
};

/// How many images of the shape `example` a step may have whose memory is to fit into `bytes`, from
/// the memory of smaller steps, which are run: weights' gradients and running statistics change. 0:
/// unknown.
int64_t images_that_fit(Model& model, const OpenPassport* passport, const Shape& example,
                        const FitOptions& options, size_t bytes);

}  // namespace passnorm::train
