// What was published on the attacks that `passnorm report` shows, with its source; what no source
// that could be read gives is listed as such, never guessed.
#pragma once

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
  kNothing,
  kPublicAccuracy,  ///< of the network as it was trained
  kBestFake1,       ///< the best passport branch of the attack
  kBestFake2,
  kBestOnATenth,  ///< of fake2 with a tenth of the data
  kBestCerb,
  kStrangersDrop,  ///< owner's accuracy less the mean of random passports
  kBitsPruned,     ///< owner's bits at 60 to 70% of weights pruned
  kBitsFineTuned,  ///< owner's bits at the end of fine-tuning
};

struct PublishedFigure {
  std::string_view id;
  std::string_view what;
  std::string_view network, data;  ///< as `passnorm train` names them; empty: not stated
  std::string_view value;
  Published mark;
  std::string_view source;
  Ours ours = Ours::kNothing;
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
