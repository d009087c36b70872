// Ownership schemes: each is a row, of the table here or of a host's own.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/convolution.hpp"

namespace passnorm {

/// What a scheme does at a passport site. Without a public lane there is one lane, and what would
/// be kept per lane is kept once.
struct Scheme {
  std::string_view name;
  std::string_view source;  ///< where it was published
  bool passport = true;     ///< has a passport branch
  bool public_lane = true;  ///< has a public branch with a learned scale and shift
  bool gate = false;        ///< raw scale and shift go through PAN's bottleneck
  bool lane_statistics =
      false;  ///< batch norm keeps running statistics per lane; else one set, updated by both
  bool lane_transforms =
      false;  ///< batch norms of PointNet's transform nets have affine and statistics per lane
  bool triggers = false;  ///< trains on a trigger set too
};

std::span<const Scheme> schemes();
/// By name, - and _ alike, among a host's `own` rows, then among schemes(); Error(kUsage) naming
/// all when unknown. Plans and passports point to rows: a host's live as long as these do.
const Scheme& scheme(std::string_view name, std::span<const Scheme> own = {});

/// A layer that can carry a passport: its name (the references' module path) and its sizes (n = 1).
struct Site {
  /// A linear layer is a convolution of one position, whose digest is the key itself; to its raw
  /// scale and shift its bias is added (a convolution has none there).
  enum class Kind { kConvolution, kLinear };

  std::string name;
  kernels::ConvGeometry geometry;
  Kind kind = Kind::kConvolution;

  int64_t channels() const { return geometry.o; }
  int64_t key_size() const { return geometry.x_size(); }
  bool operator==(const Site&) const = default;
};

/// Which sites carry passports, and by which scheme.
struct PassportPlan {
  const Scheme* scheme = &passnorm::scheme("none");
  std::vector<std::string> sites = {
      "last"};  ///< "last" or "all" (what the model means by it), names, or patterns with *

  /// Comma-separated sites.
  static PassportPlan of(std::string_view scheme, std::string_view sites = "last");
};

/// Whether name matches a pattern in which * stands for any characters.
bool matches_pattern(std::string_view pattern, std::string_view name);

}  // namespace passnorm
