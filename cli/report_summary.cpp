#include "cli/report_summary.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace passnorm::cli {

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

std::string metric_text(const AttackRecord& attack, const std::string& metric) {
  constexpr std::string_view kOfSample = " of sample";
  const double passports = attack.points.back().x;
  const std::string times = attack.documents > 1 ? fmt::format("{} x ", attack.documents) : "";
  if (!times.empty() && (metric == "best" || metric.ends_with(", best")))
    return fmt::format("{} of {}{:.0f}", metric, times, passports);
  const auto sample = whole_number(attack.settings, "sample");
  if (!metric.ends_with(kOfSample) || !sample) return metric;
  return fmt::format("{} of {}{:.0f} of them", metric.substr(0, metric.size() - kOfSample.size()),
                     times, std::min(static_cast<double>(*sample), passports));
}

std::string best_text(const AttackRecord& attack) {
  const std::string text = metric_text(attack, "best");
  return text == "best" ? text : text + ":";
}

bool is_flipped_forgery(const AttackRecord& attack) {
  return attack.chain.empty() && (attack.name == "fake3" || attack.name == "ambiguity-2") &&
         axis_is_share(attack);
}

}  // namespace passnorm::cli
