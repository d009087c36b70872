// The tables of attacks for documents that are written in Markdown.
#include <fmt/format.h>

#include <algorithm>

#include "cli/report_page.hpp"
#include "cli/report_parts.hpp"
#include "cli/report_pool.hpp"
#include "verify/examine.hpp"

namespace passnorm::cli {
namespace {

/// Text of a cell: on one line, and nothing of it is markup.
std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += ' ';
      continue;
    }
    if (std::string_view("\\|`*_<>[]&").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string line(const std::vector<std::string>& cells) {
  std::string out = "|";
  for (const std::string& cell : cells) out += " " + cell + " |";
  return out + "\n";
}

/// 81.2 [80.5, 82.0]
std::string share(const std::optional<Measured>& m) {
  if (!m) return "-";
  std::string out = fmt::format("{:.1f}", 100 * m->value);
  if (const auto& i = m->interval)
    out += fmt::format(" [{:.1f}, {:.1f}]", 100 * i->low, 100 * i->high);
  return out;
}

/// 768/768 [99.5, 100.0]
std::string bits(const ClaimRecord& c) {
  std::string out = fmt::format("{}/{}", c.matched, c.total);
  if (const auto i = c.share().interval)
    out += fmt::format(" [{:.1f}, {:.1f}]", 100 * i->low, 100 * i->high);
  return out;
}

/// Of what the thief has: of a network without a public branch with the scale and shift that he
/// trained.
std::optional<Measured> public_accuracy(const PointRecord& p) {
  return p.owner.accuracy.released ? p.owner.accuracy.released : p.metric("stolen accuracy");
}

std::string row(const std::string& what, const std::optional<Measured>& released,
                const ClaimRecord& c) {
  return line({plain(what), share(released), share(c.accuracy.passport), bits(c),
               log2_text(c.corrected()), plain(c.verdict)});
}

/// The network itself is what it was: only the forger's claim is new.
bool leaves_the_network(const AttackRecord& attack) {
  return std::ranges::any_of(
      std::initializer_list<std::string_view>{"fake1", "fake3", "ambiguity-1", "ambiguity-2"},
      [&](std::string_view name) { return attack.chain.empty() && attack.name == name; });
}

/// Of the points behind the untouched network.
std::vector<const PointRecord*> that_matter(const AttackRecord& attack) {
  std::vector<const PointRecord*> points;
  if (attack.axis.starts_with("epochs") || attack.axis == "random passports") {
    if (attack.points.size() > 1) points.push_back(&attack.points.back());
    return points;
  }
  const auto before = task_accuracy(attack, attack.points[0]);
  for (size_t i = 1; i < attack.points.size(); ++i) {
    points.push_back(&attack.points[i]);
    const auto now = task_accuracy(attack, attack.points[i]);
    if (before && now && now->value < before->value - kTaskStands) break;
  }
  return points;
}

/// A row of how all random passports do, where they were counted.
std::string strangers(const AttackRecord& attack, const PointRecord& p) {
  if (!p.metric("own bits, mean")) return {};
  struct Part {
    std::string label;
    const char* metric;
    int digits;
  };
  const auto cell = [&](double unit, const std::vector<Part>& parts) -> std::string {
    std::vector<std::string> known;
    for (const Part& part : parts)
      if (const auto m = p.metric(part.metric))
        known.push_back(fmt::format("{} {:.{}f}", part.label, unit * m->value, part.digits));
    return known.empty() ? "-" : joined(known, ", ");
  };
  int64_t bits = 0;
  for (const auto& [site, n] : attack.sites) bits += n;
  return line({plain(attack.title) + ", " + place_text(attack, p) + ": all", "-",
               cell(100, {{"mean", "accuracy, mean of sample", 1},
                          {metric_text(attack, "best of sample"), "accuracy, best of sample", 1}}),
               cell(1, {{"mean", "own bits, mean", 1},
                        {"1%", "own bits, 1% quantile", 0},
                        {"99%", "own bits, 99% quantile", 0},
                        {best_text(attack), "own bits, best", 0}}) +
                   fmt::format(" of {}", bits),
               "-", "-"});
}

std::string rows_of(const AttackRecord& attack) {
  std::string out;
  for (const PointRecord* p : that_matter(attack)) {
    const std::string what = attack.title + ", " + place_text(attack, *p);
    const bool owner = !leaves_the_network(attack);
    if (owner) out += row(what, public_accuracy(*p), p->owner);
    out += strangers(attack, *p);
    if (p->forger) out += row(what + ": forger", public_accuracy(*p), *p->forger);
  }
  return out;
}

std::string seeds_of(const RunRecord& pool) {
  for (const auto& [name, value] : pool.settings)
    if (name == "seed" && !value.empty() &&
        value.find_first_not_of("0123456789, ") == std::string::npos)
      return (value.find(',') == std::string::npos ? ", seed " : ", seeds ") + value;
  return {};
}

/// "2000", of attacks that differ "2000 or all".
std::string limits(const RunRecord& pool, int64_t AttackRecord::*limit) {
  std::vector<std::string> texts;
  for (const AttackRecord& attack : pool.attacks) {
    const std::string text = attack.*limit == 0 ? "all" : fmt::format("{}", attack.*limit);
    if (std::ranges::find(texts, text) == texts.end()) texts.push_back(text);
  }
  return joined(texts, " or ");
}

std::string table_of(const RunRecord& pool) {
  std::string out = fmt::format("**{}**", plain(pool.network()));
  if (!pool.data.empty()) out += ", " + plain(pool.data.substr(0, pool.data.find(':')));
  out += fmt::format("; {} network{}{}", pool.members.size(), pool.members.size() == 1 ? "" : "s",
                     seeds_of(pool));
  if (!pool.attacks.empty())
    out += fmt::format("; the attacks had {} training images, accuracy is of {} test images",
                       limits(pool, &AttackRecord::limit_train),
                       limits(pool, &AttackRecord::limit_test));
  out += "\n\n" +
         line({"attack", "public, %", "passport, %", "bits [% that match]", "log2 p", "verdict"}) +
         "|---|---|---|---|---|---|\n";
  // A transfer knows no accuracy before it.
  const auto first = std::ranges::find_if(
      pool.attacks, [](const AttackRecord& a) { return a.points[0].task().has_value(); });
  if (first != pool.attacks.end()) {
    out += row("before", public_accuracy(first->points[0]), first->points[0].owner);
  } else if (pool.claim) {
    out += row("before", pool.claim->accuracy.released, *pool.claim);
  }
  for (const AttackRecord& attack : pool.attacks) out += rows_of(attack);
  return out;
}

}  // namespace

std::string report_markdown(const ReportData& data) {
  std::string out(kTablesStart);
  for (const RunRecord& pool : data.pools) out += table_of(pool) + "\n";
  return out + "In brackets 95% intervals, of log2 p the least and the most. " +
         std::string(kIntervals) +
         fmt::format(
             " log2 p is corrected for claims tried and choices of sites; {:.0f} and below is "
             "beyond chance. An attack is shown up to the first strength at which the task has "
             "lost more than {:.0f} points, and at the end of training. Public: what the thief "
             "has; of deepipr-v1, which has no public branch, with the scale and shift that he "
             "trained.\n",
             verify::kLog2Threshold, 100 * kTaskStands);
}

}  // namespace passnorm::cli
