// Branches of a passport network, and which of them the rows of an activation stand for.
#pragma once

#include "kernels/runtime/check.hpp"

namespace passnorm {

/// Public ships and costs nothing; Passport works only with the owner's passport.
enum class Branch { kPublic = 0, kPassport = 1 };

/// only(b): the rows are one branch's. shared(): both branches, still equal, one set of N rows.
/// split(): rows [0, N) public, [N, 2N) passport. A normalisation layer, never the model, turns
/// shared() into split().
class Lanes {
 public:
  Lanes() = default;
  static Lanes only(Branch branch) {
    return Lanes(branch == Branch::kPublic ? Kind::kPublic : Kind::kPassport);
  }
  static Lanes shared() { return Lanes(Kind::kShared); }
  static Lanes split() { return Lanes(Kind::kSplit); }

  bool is_shared() const { return kind_ == Kind::kShared; }
  bool is_split() const { return kind_ == Kind::kSplit; }
  bool is_both() const { return is_shared() || is_split(); }
  bool has(Branch branch) const {
    return is_both() || kind_ == (branch == Branch::kPublic ? Kind::kPublic : Kind::kPassport);
  }
  /// The branch of only(b).
  Branch branch() const {
    PASSNORM_CHECK(!is_both(), "lanes of both branches have no one branch");
    return kind_ == Kind::kPublic ? Branch::kPublic : Branch::kPassport;
  }
  /// How many parts the rows fall into.
  int parts() const { return is_split() ? 2 : 1; }
  bool operator==(const Lanes&) const = default;

 private:
  enum class Kind { kPublic, kPassport, kShared, kSplit };
  explicit Lanes(Kind kind) : kind_(kind) {}
  Kind kind_ = Kind::kPublic;
};

}  // namespace passnorm
