// What was published on passport networks and attacks on them, with its source; what no source
// that could be read gives is listed as such, never guessed.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace passnorm::cli {

enum class Published {
  kExact,        ///< printed as a number
  kApproximate,  ///< read off a plot
  kNotFound,     ///< published in a paper whose figures could not be read here
};
std::string_view name_of(Published mark);  ///< exact | approximate | not found

/// What of a run stands beside a published figure.
enum class Ours {
  kNothing,           ///< nothing that is measured here
  kOrdinaryAccuracy,  ///< of a network without passports
  /// Of a network with passports as it is used: the public branch's; without one the other's.
  kAccuracy,
  kPassportAccuracy,  ///< with the owner's passport
  kStrangersDrop,     ///< that of the owner's passport less the mean of random ones
  kBestStranger,      ///< the best of random passports
  kBestStolen,        ///< the stolen network's after the attack, at its best
  kBestStolenBits,    ///< the same, and the share of its scales' signs that are not the owner's
  kBits,              ///< the owner's bits after the attack
  kTriggers,          ///< accuracy on the owner's triggers after the attack
};

struct PublishedFigure {
  std::string_view id;
  std::string_view what;
  std::string_view scheme = {};              ///< how its name begins; empty: not compared
  std::string_view network = {}, data = {};  ///< as `passnorm train` names them; empty: not stated
  int64_t layers = 0;                        ///< that carry a passport; 0: not stated
  std::string_view value = {};
  Published mark = Published::kExact;
  std::string_view source;
  Ours ours = Ours::kNothing;
  /// What was done to the network, as `passnorm attack` has it: "fake2 init=ones share=0.1"; of
  /// modes that are the same there "mode=ftal|rtal".
  std::string_view attack = {};
  std::string_view other_data = {};  ///< that an attack with task=other went to
  double strength = 0;               ///< in the attack's axis; 0: its end
};

/// Accuracy of the passport branch against the share of the signature's bits that a forger flips.
struct PublishedCurve {
  std::string_view id, label, source;
  Published mark;
  std::span<const std::pair<double, double>> points;  ///< share flipped, accuracy; both in [0, 1]
};

std::span<const PublishedFigure> published_figures();
std::span<const PublishedCurve> published_curves();

}  // namespace passnorm::cli
