// Which of our numbers stand beside published ones, and in what they are not of the same setting.
#include <fmt/format.h>

#include <algorithm>

#include "cli/report_summary.hpp"
#include "kernels/runtime/check.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::cli {
namespace {

/// As both papers' programs train networks, and attacks on them.
constexpr int64_t kTrainingEpochs = 200, kAttackEpochs = 100;
/// A published strength and a stronger one of ours that still stands beside it.
constexpr double kStrengthGap = 0.05;
/// All of CIFAR-10 and CIFAR-100; of other data it is not known how many there are.
constexpr int64_t kCifarTestImages = 10000;

using Differences = std::vector<std::string>;

std::string counted(int64_t n, std::string_view what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

/// cifar10 of cifar10:DIR
std::string_view data_set(std::string_view spec) { return spec.substr(0, spec.find(':')); }

/// `what` as PublishedFigure::attack has it: the name, then settings.
bool is_attack(const AttackRecord& attack, std::string_view what) {
  if (!attack.chain.empty()) return false;
  size_t at = std::min(what.find(' '), what.size());
  if (attack.name != what.substr(0, at)) return false;
  while (at < what.size()) {
    const size_t end = std::min(what.find(' ', at + 1), what.size());
    const std::string_view setting = what.substr(at + 1, end - at - 1);
    const size_t equals = setting.find('=');
    const auto between = [](std::string_view s) { return concat("|", s, "|"); };
    if (between(setting.substr(equals + 1))
            .find(between(setting_of(attack.settings, setting.substr(0, equals)))) ==
        std::string::npos)
      return false;
    at = end;
  }
  return true;
}

/// A network that the figure may be of; what it does not state tells none apart.
bool is_comparable(const PublishedFigure& figure, const RunRecord& run) {
  const bool ordinary = figure.ours == Ours::kOrdinaryAccuracy;
  return figure.ours != Ours::kNothing && !run.scheme.empty() &&
         (run.scheme == "none") == ordinary &&
         (figure.network.empty() || figure.network == run.architecture) &&
         (figure.data.empty() || figure.data == data_set(run.data)) &&
         (figure.layers == 0 || figure.layers == std::ssize(run.sites));
}

void compare_training(const RunRecord& run, Differences& out) {
  const auto epochs = whole_number(run.settings, "epochs");
  if (!epochs)
    out.push_back("training not known");
  else if (*epochs < kTrainingEpochs)
    out.push_back("trained for " + counted(*epochs, "epoch"));
  if (const auto limit = whole_number(run.settings, "limit-train"); limit && *limit > 0)
    out.push_back("trained on " + counted(*limit, "image"));
}

void compare_attack(const AttackRecord& attack, Differences& out) {
  const auto known = verify::attacks();
  const auto it = std::ranges::find(known, attack.name, &verify::Attack::name);
  const bool trains = it == known.end() || it->trains;
  if (const auto epochs = whole_number(attack.settings, "epochs");
      epochs && *epochs < kAttackEpochs)
    out.push_back("attacked for " + counted(*epochs, "epoch"));
  if (trains && attack.limit_train > 0)
    out.push_back("attacked with " + counted(attack.limit_train, "image"));
  if (attack.limit_test > 0) out.push_back(counted(attack.limit_test, "test image"));
}

void keep_larger(std::optional<OurFigure>& best, OurFigure candidate) {
  if (!best || candidate.value > best->value) best = std::move(candidate);
}

// --- what is measured

/// Of the epochs by which networks keep their best weights (Run::offer), the mean over networks.
template <class F>
std::optional<Measured> best_epochs(const RunRecord& pool, const ReportData& data, F branch) {
  const auto score = [](const EpochRecord& e) {
    const auto &a = e.test.released, &b = e.test.passport;
    return a && b ? (a->value + b->value) / 2 : a.value_or(b.value_or(0)).value;
  };
  double sum = 0;
  int64_t networks = 0;
  for (const size_t i : pool.members) {
    const auto& epochs = data.runs[i].epochs;
    const auto best = std::ranges::max_element(epochs, {}, score);  // the first of equal ones
    if (best == epochs.end()) continue;
    if (const std::optional<Measured> m = branch(best->test)) {
      sum += m->value;
      ++networks;
    }
  }
  return networks > 0 ? std::optional<Measured>(sum / static_cast<double>(networks)) : std::nullopt;
}

/// Of the untouched network, by the last epoch of its training; where the best epoch's weights were
/// kept by the claim, without one by that epoch.
template <class F>
std::optional<OurFigure> accuracy(const RunRecord& pool, const ReportData& data, F branch) {
  const std::optional<Measured> claimed = pool.claim ? branch(pool.claim->accuracy) : std::nullopt;
  std::optional<Measured> trained;
  if (setting_of(pool.settings, "keep") != "best")
    trained = pool.epochs.empty() ? std::nullopt : branch(pool.epochs.back().test);
  else if (!claimed)
    trained = best_epochs(pool, data, branch);
  if (!trained && !claimed) return {};
  OurFigure figure{.value = (trained ? trained : claimed)->value};
  if (trained) {
    if (const auto limit = whole_number(pool.settings, "limit-test"); limit && *limit > 0)
      figure.differences.push_back(counted(*limit, "test image"));
  } else if (const auto images = pool.claim->images; !images) {
    figure.differences.push_back("number of test images not known");
  } else if (!data_set(pool.data).starts_with("cifar") || *images < kCifarTestImages) {
    figure.differences.push_back(counted(*images, "test image"));
  }
  return figure;
}

std::string sample_text(const NullAccuracy& null) {
  return counted(null.passports, "random passport") + " on " + counted(null.images, "image");
}

std::optional<OurFigure> strangers_drop(const RunRecord& run) {
  if (!run.claim || !run.claim->null) return {};
  const NullAccuracy& null = *run.claim->null;
  return OurFigure{.value = null.owner - null.mean, .differences = {sample_text(null)}};
}

/// The published keys are features that a network computes of pictures.
std::optional<OurFigure> best_stranger(const RunRecord& run) {
  std::optional<OurFigure> best;
  if (run.claim && run.claim->null)
    best = {.value = run.claim->null->best,
            .differences = {"keys of random numbers", sample_text(*run.claim->null)}};
  for (const AttackRecord& attack : run.attacks) {
    if (!is_attack(attack, "fake1")) continue;
    OurFigure figure;
    if (const auto keys = setting_of(attack.settings, "keys"); keys != "shuffle")
      figure.differences.push_back(keys == "image" ? "keys of single pictures"
                                                   : "keys of random numbers");
    if (const auto images = whole_number(attack.settings, "sample-images"); images && *images > 0)
      figure.differences.push_back(counted(*images, "test image"));
    compare_attack(attack, figure.differences);
    for (const PointRecord& p : attack.points)
      for (const auto& m :
           {p.forger ? p.forger->accuracy.passport : std::nullopt,
            p.metric("accuracy, best of sample"), p.metric("accuracy, best match of owner's bits")})
        if (m) {
          figure.value = m->value;
          keep_larger(best, figure);
        }
  }
  return best;
}

std::optional<OurFigure> best_stolen(const PublishedFigure& figure, const RunRecord& run) {
  std::optional<OurFigure> best;
  for (const AttackRecord& attack : run.attacks) {
    if (!is_attack(attack, figure.attack)) continue;
    for (size_t i = 1; i < attack.points.size(); ++i) {  // the first is the untouched network
      const PointRecord& p = attack.points[i];
      const auto task = p.task();
      if (!task) continue;
      OurFigure ours{.value = task->value};
      if (const auto bits = p.metric("bit dissimilarity rate");
          bits && figure.ours == Ours::kBestStolenBits)
        ours.bits = bits->value;
      compare_attack(attack, ours.differences);
      keep_larger(best, std::move(ours));
    }
  }
  return best;
}

/// Of the published strength or the next stronger one.
const PointRecord* point_at(const AttackRecord& attack, double strength) {
  constexpr double kRounding = 1e-9;
  if (strength == 0) return &attack.points.back();
  const PointRecord* found = nullptr;
  for (const PointRecord& p : attack.points)
    if (p.x > strength - kRounding && p.x < strength + kStrengthGap + kRounding &&
        (!found || p.x < found->x))
      found = &p;
  return found;
}

/// After a transfer the owner's network with the thief's features is asked, as the papers do.
std::optional<Measured> triggers_of(const PointRecord& p) {
  for (const auto& m : {p.triggers ? p.triggers->released : std::nullopt,
                        p.triggers ? p.triggers->passport : std::nullopt,
                        p.metric("written back: public trigger accuracy"),
                        p.metric("written back: passport trigger accuracy")})
    if (m) return m;
  return {};
}

std::optional<OurFigure> after_attack(const PublishedFigure& figure, const RunRecord& run) {
  for (const AttackRecord& attack : run.attacks) {
    if (!is_attack(attack, figure.attack)) continue;
    Differences differences;
    if (!figure.other_data.empty()) {
      if (attack.other_data.empty())
        differences.push_back("other data not known");
      else if (figure.other_data != data_set(attack.other_data))
        continue;
    }
    const PointRecord* p = point_at(attack, figure.strength);
    if (p == nullptr) continue;
    const auto measured =
        figure.ours == Ours::kBits ? std::optional(p->owner.share()) : triggers_of(*p);
    if (!measured) continue;
    if (figure.strength != 0 && p->x > figure.strength + 1e-9)
      differences.push_back("at " + x_text(attack, *p));
    compare_attack(attack, differences);
    return OurFigure{.value = measured->value, .differences = std::move(differences)};
  }
  return {};
}

std::optional<OurFigure> measured(const PublishedFigure& figure, const RunRecord& run,
                                  const ReportData& data) {
  switch (figure.ours) {
    case Ours::kNothing:
      return {};
    case Ours::kOrdinaryAccuracy:
    case Ours::kAccuracy:
      return accuracy(run, data,
                      [](const BranchAccuracy& a) { return a.released ? a.released : a.passport; });
    case Ours::kPassportAccuracy:
      return accuracy(run, data, [](const BranchAccuracy& a) { return a.passport; });
    case Ours::kStrangersDrop:
      return strangers_drop(run);
    case Ours::kBestStranger:
      return best_stranger(run);
    case Ours::kBestStolen:
    case Ours::kBestStolenBits:
      return best_stolen(figure, run);
    case Ours::kBits:
    case Ours::kTriggers:
      return after_attack(figure, run);
  }
  return {};
}

}  // namespace

std::vector<OurFigure> ours(const PublishedFigure& figure, const ReportData& data) {
  std::vector<OurFigure> out;
  for (size_t i = 0; i < data.pools.size(); ++i) {
    const RunRecord& run = data.pools[i];
    if (!is_comparable(figure, run)) continue;
    auto found = measured(figure, run, data);
    if (!found) continue;
    found->pool = i;
    Differences training;
    if (figure.network.empty()) training.push_back("published without the network");
    if (!run.scheme.starts_with(figure.scheme)) training.push_back("scheme " + run.scheme);
    compare_training(run, training);
    found->differences.insert(found->differences.begin(), training.begin(), training.end());
    out.push_back(std::move(*found));
  }
  return out;
}

}  // namespace passnorm::cli
