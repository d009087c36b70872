#include "cli/report_summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace passnorm::cli {
namespace {

const AttackRecord* attack_named(const RunRecord& run, std::string_view name) {
  for (const AttackRecord& a : run.attacks)
    if (a.name == name && a.chain.empty()) return &a;
  return nullptr;
}

std::optional<double> larger(std::optional<double> a, const std::optional<Measured>& b) {
  if (!b) return a;
  return a ? std::max(*a, b->value) : b->value;
}

std::optional<double> value_of(const std::optional<Measured>& m) {
  return m ? std::optional(m->value) : std::nullopt;
}

/// The best accuracy of the passport branch with a random passport.
std::optional<double> best_fake1(const RunRecord& run) {
  std::optional<double> best;
  if (run.claim && run.claim->null) best = run.claim->null->best;
  if (const AttackRecord* attack = attack_named(run, "fake1"))
    for (const PointRecord& p : attack->points) {
      if (p.forger) best = larger(best, p.forger->accuracy.passport);
      best = larger(best, p.metric("accuracy, best of sample"));
      best = larger(best, p.metric("accuracy, best match of owner's bits"));
    }
  return best;
}

/// The best accuracy of the stolen network after attacks of this name, with a setting at a value
/// where one is named.
std::optional<double> best_stolen(const RunRecord& run, std::string_view name,
                                  const std::pair<std::string, std::string>& setting = {}) {
  std::optional<double> best;
  for (const AttackRecord& attack : run.attacks) {
    const bool set = setting.first.empty() ||
                     std::ranges::find(attack.settings, setting) != attack.settings.end();
    if (attack.name != name || !attack.chain.empty() || !set) continue;
    for (size_t i = 1; i < attack.points.size(); ++i)  // the first is the untouched network
      best = larger(best, attack.points[i].task());
  }
  return best;
}

std::optional<double> public_accuracy(const RunRecord& run) {
  if (run.claim && run.claim->accuracy.released) return run.claim->accuracy.released->value;
  return run.epochs.empty() ? std::nullopt : value_of(run.epochs.back().test.released);
}

std::optional<double> our_value(Ours what, const RunRecord& run) {
  switch (what) {
    case Ours::kNothing:
      return {};
    case Ours::kPublicAccuracy:
      return public_accuracy(run);
    case Ours::kBestFake1:
      return best_fake1(run);
    case Ours::kBestFake2:
      return best_stolen(run, "fake2");
    case Ours::kBestOnATenth:
      return best_stolen(run, "fake2", {"share", "0.1"});
    case Ours::kBestCerb:
      return best_stolen(run, "erb", {"block", "cerb"});
    case Ours::kStrangersDrop:
      if (!run.claim || !run.claim->null) return {};
      return run.claim->null->owner - run.claim->null->mean;
    case Ours::kBitsPruned: {
      std::optional<double> bits;
      if (const AttackRecord* prune = attack_named(run, "prune"))
        for (const PointRecord& p : prune->points)
          if (p.x > 0.599 && p.x < 0.701) bits = p.owner.share().value;
      return bits;
    }
    case Ours::kBitsFineTuned:
      if (const AttackRecord* tuned = attack_named(run, "fine-tune"))
        return tuned->points.back().owner.share().value;
      return {};
  }
  return {};
}

}  // namespace

std::vector<AttackSummary> summaries(const ReportData& data) {
  std::vector<AttackSummary> out;
  for (const AttackGroup& group : groups(data))
    for (const auto& [pool, attack] : group.items) {
      AttackSummary s{.pool = pool,
                      .attack = attack,
                      .before = task_accuracy(*attack, attack->points.front()),
                      .last = &attack->points.back()};
      for (const PointRecord& p : attack->points) {
        const auto accuracy = task_accuracy(*attack, p);
        if (!s.before || !accuracy || accuracy->value < s.before->value - kTaskStands) break;
        s.stands = &p;
      }
      for (const PointRecord& p : attack->points)
        if (p.forger &&
            (!s.forger || p.forger->corrected().value < s.forger->forger->corrected().value))
          s.forger = &p;
      out.push_back(s);
    }
  return out;
}

std::optional<Measured> task_accuracy(const AttackRecord& attack, const PointRecord& point) {
  return attack.name == "flip" ? point.owner.accuracy.passport : point.task();
}

std::vector<AttackGroup> groups(const ReportData& data) {
  std::vector<AttackGroup> out;
  for (size_t pool = 0; pool < data.pools.size(); ++pool)
    for (const AttackRecord& attack : data.pools[pool].attacks) {
      const auto group = std::ranges::find_if(out, [&](const AttackGroup& g) {
        return g.title == attack.title && g.items[0].second->axis == attack.axis;
      });
      if (group == out.end())
        out.push_back({attack.title, {{pool, &attack}}});
      else
        group->items.emplace_back(pool, &attack);
    }
  return out;
}

bool axis_is_share(const AttackRecord& attack) {
  const bool named = attack.axis.find("share") != std::string::npos ||
                     attack.axis.find("rate") != std::string::npos;
  return named && std::ranges::all_of(attack.points,
                                      [](const PointRecord& p) { return p.x >= 0 && p.x <= 1; });
}

std::string x_text(const AttackRecord& attack, const PointRecord& point) {
  if (attack.name == "quantise") {
    const auto bits = point.metric("bits"), exponent = point.metric("exponent bits");
    if (!bits) return "f32";
    if (exponent && exponent->value > 0) return exponent->value == 8 ? "bf16" : "f16";
    return fmt::format("{:g} bit", bits->value);
  }
  return axis_is_share(attack) ? fmt::format("{:.4g}%", 100 * point.x)
                               : fmt::format("{:.6g}", point.x);
}

std::string place_text(const AttackRecord& attack, const PointRecord& point) {
  const std::string x = x_text(attack, point);
  if (attack.axis.starts_with("epochs")) return "epoch " + x;
  return attack.axis == "random passports" ? x + " passports" : x;
}

std::string axis_text(const AttackRecord& attack) {
  return attack.name == "quantise" ? "format of the weights" : attack.axis;
}

std::vector<OurFigure> ours(const PublishedFigure& figure, const ReportData& data) {
  std::vector<OurFigure> out;
  for (size_t i = 0; i < data.pools.size(); ++i) {
    const RunRecord& run = data.pools[i];
    const auto value = our_value(figure.ours, run);
    const std::string set = run.data.substr(0, run.data.find(':'));
    if (value)
      out.push_back(
          {i, *value,
           !figure.network.empty() && figure.network == run.architecture && figure.data == set});
  }
  return out;
}

bool is_flipped_forgery(const AttackRecord& attack) {
  return attack.chain.empty() && (attack.name == "fake3" || attack.name == "ambiguity-2") &&
         axis_is_share(attack);
}

}  // namespace passnorm::cli
