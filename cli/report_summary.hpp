// What a report concludes from its data: how far each attack gets before the task breaks, who
// forges best, and which of our numbers stand beside published ones.
#pragma once

#include "cli/published.hpp"
#include "cli/report_data.hpp"

namespace passnorm::cli {

/// A thief who loses more accuracy than this has not stolen the network.
inline constexpr double kTaskStands = 0.05;

/// One attack on one pool of networks. Pointers into ReportData.
struct AttackSummary {
  size_t pool = 0;  ///< of ReportData::pools
  const AttackRecord* attack = nullptr;
  std::optional<Measured> before;  ///< accuracy of the task at the first point
  /// The last point up to which the task has lost at most kTaskStands; null where accuracy was not
  /// measured.
  const PointRecord* stands = nullptr;
  const PointRecord* last = nullptr;
  /// The point whose forger's claim is the least likely by chance; null without forgers.
  const PointRecord* forger = nullptr;
};
std::vector<AttackSummary> summaries(const ReportData& data);

/// What the attacked network is worth: its task(), or where the passport branch itself is attacked
/// (flip) that branch's accuracy.
std::optional<Measured> task_accuracy(const AttackRecord& attack, const PointRecord& point);

/// The same attack on several pools, to be drawn in one chart.
struct AttackGroup {
  std::string title;
  std::vector<std::pair<size_t, const AttackRecord*>> items;  ///< pool, attack
};
/// In the order in which attacks first appear; attacks of one title and axis together.
std::vector<AttackGroup> groups(const ReportData& data);

/// The strengths of an attack are shares of a whole.
bool axis_is_share(const AttackRecord& attack);
/// A point's strength: 30%, 4, bf16.
std::string x_text(const AttackRecord& attack, const PointRecord& point);
/// The same where no heading says what it is: epoch 4.
std::string place_text(const AttackRecord& attack, const PointRecord& point);
/// What that is.
std::string axis_text(const AttackRecord& attack);
/// A metric's name, of a sample with its size: "accuracy, best of 20 of them"; of several documents
/// "accuracy, best of 3 x 20 of them" and "own bits, best of 3 x 10000".
std::string metric_text(const AttackRecord& attack, const std::string& metric);
/// What stands before the bits of the best random passport: "best", "best of 3 x 10000:".
std::string best_text(const AttackRecord& attack);

struct OurFigure {
  size_t pool = 0;
  double value = 0;            ///< a share; of kStrangersDrop a difference of shares
  std::optional<double> bits;  ///< of kBestStolenBits: a share
  /// In what the setting is not the published one, each in a few words: "trained for 5 epochs".
  /// None of the network, the data, the number of layers with passports and the attack's own
  /// settings: where these differ nothing stands beside the figure.
  std::vector<std::string> differences;
};
/// Of the pools that have what stands beside the figure (report_ours.cpp).
std::vector<OurFigure> ours(const PublishedFigure& figure, const ReportData& data);

/// Keys trained towards flipped bits, as the published curves have them.
bool is_flipped_forgery(const AttackRecord& attack);

}  // namespace passnorm::cli
