// Keys that are learned: what a forger trains who has the network and leaves its weights as they
// are.
#pragma once

#include "train/optimizer.hpp"
#include "train/trainer.hpp"

namespace passnorm::verify {

/// Keys of a passport as parameters, and how far they are from those of a genuine one. What they
/// hold is wiped at the end.
class LearnedKeys {
 public:
  /// start: the keys at first; of the sites of genuine. Bits of start are the ones aimed at.
  LearnedKeys(Stream& stream, const Passport& start, const Passport& genuine);
  ~LearnedKeys();
  LearnedKeys(const LearnedKeys&) = delete;
  LearnedKeys& operator=(const LearnedKeys&) = delete;

  /// Of each site [2, H, W, C]: scale key, then shift key.
  ParameterSet& parameters() { return parameters_; }

  /// The passport as a forward pass reads it, with gradients.
  OpenPassport open(Tape& tape) const;
  /// The loss sum over keys of 1 / mean (key - genuine key)^2; where the tape records, its gradient
  /// goes to the keys' (the tape's loss scale is none of its factors). Waits for the device.
  /// Error(kNumerics) for a key that is the genuine one.
  double inverse_distances(Tape& tape) const;
  /// The keys now, with the bits aimed at (free).
  Passport passport() const;
  /// Makes both keys of every site one tensor again after a step, which gets the updates of both.
  /// before: the parameters' arena as it was before the step.
  void unite(const Tensor& before);

  struct Distance {
    double mse = 0;     ///< mean (key - genuine key)^2
    double cosine = 0;  ///< of the angle between them
  };
  /// Of each key, site by site, shift key before scale key.
  std::vector<Distance> distances() const;

 private:
  Stream& stream_;
  std::vector<Site> sites_;
  std::vector<SitePassport> start_, genuine_;
  ParameterSet parameters_;
  std::vector<Tensor> genuine_keys_;  ///< as the parameters
  Tensor bits_;
};

/// What is minimised: the passport branch's cross-entropy and these, without what regularises the
/// network's own weights.
struct KeyLoss {
  bool distance = true;   ///< sum over keys of 1 / mean squared distance from the genuine one
  bool signs = true;      ///< sum over sites of the sign loss against the bits aimed at
  float sign_factor = 1;  ///< of the sign losses
};

struct KeyStep {
  double cross_entropy = 0;
  double inverse_distances = 0;  ///< 0 where they are no loss
  double sign_loss = 0;          ///< without the factor; 0 where it is no loss
  double bits = 0;           ///< mean over sites of the share of right signs; 0 without sign losses
  double gradient_norm = 0;  ///< before clipping
};

/// One step of gradient descent on the keys; the network, whose parameters are all frozen, is in
/// training mode: batch norm's running statistics drift. Error(kNumerics) when a loss or gradient
/// is not finite.
KeyStep key_step(Model& model, LearnedKeys& keys, const train::Batch& batch, const KeyLoss& loss,
                 train::Optimizer& optimizer, float clip_norm,
                 const std::optional<DropoutMasks>& dropout = {});

struct KeyTraining {
  KeyLoss loss;
  float clip_norm = 2;  ///< of the keys' gradient
  /// Both keys of a site are one tensor, which every step changes by the updates of both.
  bool one_tensor = false;
  /// Called after every step with the finished steps and those of an epoch, from 1 on.
  std::function<void(int64_t epoch, int64_t step, int64_t steps)> step = {};
  std::function<void(int64_t epoch)> epoch = {};
};

/// Freezes the network and trains the keys on its passport branch. options: epochs, batch, seed,
/// optimiser and augmentation.
void train_keys(Model& model, LearnedKeys& keys, const train::Dataset& data,
                const train::FitOptions& options, const KeyTraining& training);

}  // namespace passnorm::verify
