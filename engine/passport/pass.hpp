// What one forward pass carries: everything that is not a parameter.
#pragma once

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

  const std::vector<Site>& sites() const { return sites_; }
  const Var& digest(size_t site) const { return digests_.at(site); }  ///< [2, K]
  const Tensor& bits() const { return bits_; }                        ///< [sum C] of -1 and +1, i8

 private:
  std::vector<Site> sites_;
  std::vector<Var> digests_;
  Tensor bits_;
};

/// One argument of every forward.
struct Pass {
  Tape& tape;
  Mode mode = Mode::kTrain;
  const OpenPassport* passport = nullptr;  ///< needed when the passport branch runs

  /// Filled by the model when the passport branch runs; per site [2, C]: scale, then shift.
  Var raw;   ///< before the gate: what the signature is read from
  Var used;  ///< after the gate: what the normalisation layers apply
};

}  // namespace passnorm
