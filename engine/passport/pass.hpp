// What one forward pass carries: everything that is not a parameter.
#pragma once

#include <optional>

#include "engine/autograd/tape.hpp"
#include "engine/passport/passport.hpp"

namespace passnorm {

enum class Mode { kTrain, kEvaluate };

/// A passport opened on a device for the sites of one model: digests and bits, no keys. Both are
/// wiped when the last copy goes.
class OpenPassport {
 public:
  /// sites: the model's, in its order. Error(kInput) when the passport is for other sites.
  OpenPassport(Stream& stream, const Passport& passport, std::span<const Site> sites);

  /// Of digests [2, K] that are computed elsewhere, with a gradient where keys are learned, and
  /// bits [sum C] i8.
  OpenPassport(std::vector<Site> sites, std::vector<Var> digests, Tensor bits);

  const std::vector<Site>& sites() const { return sites_; }
  const Var& digest(size_t site) const { return digests_.at(site); }  ///< [2, K]
  const Tensor& bits() const { return bits_; }                        ///< [sum C] of -1 and +1, i8

 private:
  std::vector<Site> sites_;
  std::vector<Var> digests_;
  Tensor bits_;
};

/// What the masks of a training step's dropout follow from.
struct DropoutMasks {
  uint64_t seed = 0;
  DeviceValue<uint32_t> step = 0u;  ///< number of the step: each has masks of its own
};

/// One argument of every forward.
struct Pass {
  Tape& tape;
  Mode mode = Mode::kTrain;
  const OpenPassport* passport = nullptr;    ///< needed when the passport branch runs
  std::optional<DropoutMasks> dropout = {};  ///< without it, and in evaluation, nothing is dropped
  bool regularise = true;                    ///< false: no terms beside the cross-entropy

  /// Filled by the model when the passport branch runs; per site [2, C]: scale, then shift.
  Var raw;   ///< before the gate: what the signature is read from
  Var used;  ///< after the gate: what the normalisation layers apply

  /// Filled by the model: terms beside the cross-entropy, [lanes] or, for shared lanes, [1] each.
  /// Their gradients are written.
  std::vector<Tensor> losses = {};
};

}  // namespace passnorm
