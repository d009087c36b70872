// What attacks that train share.
#pragma once

#include <functional>

#include "engine/io/crypto.hpp"
#include "train/trainer.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::verify {

/// Streams of Purpose::kAttack, in one list: numbers of one never serve another. Behind each stand
/// 2^24 of its own.
enum AttackStream : uint32_t {
  kForgedBitsStream = 0x0100'0000,   ///< which bits a forger wants other than the owner's; by site
  kKeyNoiseStream = 0x0200'0000,     ///< two for each site
  kGateStream = 0x0300'0000,         ///< a forger's own gate, by weight
  kForgedSignsStream = 0x0400'0000,  ///< which signs fake2 starts without
  kShareStream = 0x0500'0000,        ///< which of the training data a thief has
  kFlipStream = 0x0600'0000,
  kGaugeStream = 0x0700'0000,    ///< three for each layer
  kPermuteStream = 0x0800'0000,  ///< two for each set of channels
};

/// What the settings epochs, lr, weight-decay and optimizer take; and the setting schedule.
inline constexpr SettingValues kEpochCounts = integer_in(1, 100'000), kRates = number_in(0, 10),
                               kDecays = number_in(0, 1), kOptimizers = one_of("sgd | adam");
inline constexpr AttackSetting kSchedule{
    "schedule", "constant", any_schedule(),
    "of the rate, as train has it; PAN's point clouds have step:20:0.7:1"};
/// Options of a run from these, of optimizer and schedule where `weights` are trained; batch and
/// seed are the input's.
train::FitOptions fit_options(const AttackInput& input, const AttackSettings& settings,
                              bool weights);
/// Error(kUsage) unless there are training data that fit the network, a batch of them at least.
const train::Dataset& training_data(const AttackInput& input);

/// int(share n) of the n training data, a random choice. Error(kUsage) for less than a batch.
train::Dataset part_of_training_data(const AttackInput& input, double share);
/// The first `count` of 0 .. n - 1 in a random order (Fisher and Yates). stream: an AttackStream,
/// or one of those behind it.
std::vector<int64_t> random_choice(int64_t n, int64_t count, uint64_t seed, uint32_t stream);

/// AttackInput::progress, where it is set.
void report_progress(const AttackInput& input, const std::string& line);
/// Callbacks of a run that report "epoch 3/10, step 20/31" and hand over its finished epochs, from
/// 1 on. They refer to the input.
train::Callbacks progress_callbacks(const AttackInput& input, const train::FitOptions& options,
                                    std::function<void(int64_t epoch)> finished);

/// A secret of a forger's own, a function of the attack's seed.
Secret32 forger_secret(uint64_t seed, uint64_t index = 0);
/// The bits that the passport's keys read from the network, written down as its signature: free.
Passport with_read_bits(const Model& model, const Passport& passport);
/// Share of the passport's bits that its keys read from the network.
double share_of_bits(Model& model, const Passport& passport);

/// Whether the parameter belongs to the layer that gives the logits.
bool in_last_layer(const Model& model, const std::string& parameter);
/// The values of everything that both networks have under the same released name, where `wanted`
/// says so.
void copy_released(const Model& from, Model& to,
                   const std::function<bool(const TensorSpec& to)>& wanted);

}  // namespace passnorm::verify
