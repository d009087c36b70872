#include "cli/report_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/report_parts.hpp"
#include "cli/report_pool.hpp"
#include "passnorm/version.hpp"
#include "verify/examine.hpp"

namespace passnorm::cli {
namespace {

using Line = Series::Line;

constexpr std::string_view kReading = R"(<h2>How to read this</h2>
<ul>
<li><b>Verdict.</b> <i>Supported</i>: the signs at the passport sites match the owner's bits beyond chance, and the bits
are bound, that is, they follow by a keyed hash from the passport's key and the text of the signature. <i>Inconclusive</i>:
they match, but whoever made the passport could choose them; anyone can draw a key and write down the signs it gives.
<i>Not supported</i>: anything else. A verdict says that a network was derived from one that carries the passport. It has no
date: of two supported claims only a commitment published earlier tells which was first.</li>
<li><b>log2 p</b> is the base-2 logarithm of the probability that as many independent fair bits match by chance. It is shown
corrected for the claims tried and for the choice of sites; a claim is beyond chance at {limit} and below. It is exact for
bits that are drawn together with their key, and says nothing about bits that were fitted.</li>
<li><b>Bits.</b> Half of them match by chance: 50% is no evidence, and 0% is as unlikely as 100%.</li>
<li><b>Intervals.</b> {intervals}</li>
<li><b>Accuracy is never evidence.</b> That the passport branch works with one passport and fails with others shows what the
passport is good for, not whose the network is: scale and shift can be trained again on part of the data.</li>
<li><b>The task stands</b> as long as the stolen network has lost at most {points} points of the accuracy at the first point of
the attack. What an attack does beyond that is shown, but the thief no longer has what he wanted.</li>
<li><b>Marks of published figures.</b> <i>Exact</i>: printed as a number. <i>Approximate</i>: read off a plot. <i>Not found</i>:
published, if at all, where it could not be read for this table; nothing stands in for it.</li>
</ul>
<h3>Limits</h3>
<ul>
<li>An interval says what chance left open, in the choice of test images or of seeds; how many networks a line stands for, the
table of networks says. A few networks trained alike say little of others.</li>
<li>An attacker who knows more, tries longer or combines more than these settings say may do better.</li>
</ul>
)";

std::string replaced(std::string text, std::string_view what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : std::string(between)) + part;
  return out;
}

/// A value of each epoch.
template <class F>
Series curve(const RunRecord& run, size_t colour, std::string label, Line line, F value) {
  Series s{.label = std::move(label), .colour = colour, .line = line};
  for (const EpochRecord& e : run.epochs)
    s.points.push_back({static_cast<double>(e.epoch), value(e)});
  return s;
}

void add(Chart& chart, Series s) {
  if (std::ranges::any_of(s.points, [](const auto& p) { return p.y.has_value(); }))
    chart.series.push_back(std::move(s));
}

/// As papers write it, on one line; - for none.
std::string display_name(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {{"alexnet", "AlexNet"},
                                                                      {"resnet18",
                                                                       "ResNet\xe2\x80\x91"
                                                                       "18"},
                                                                      {"cifar10",
                                                                       "CIFAR\xe2\x80\x91"
                                                                       "10"},
                                                                      {"cifar100",
                                                                       "CIFAR\xe2\x80\x91"
                                                                       "100"},
                                                                      {"", "-"}};
  for (const auto& [known, shown] : kNames)
    if (name == known) return std::string(shown);
  return std::string(name);
}

std::string limit_text(int64_t limit) { return limit == 0 ? "all" : fmt::format("{}", limit); }

/// Of a difference, points; of a share, per cent.
std::string our_text(const PublishedFigure& figure, double value) {
  return figure.ours == Ours::kStrangersDrop ? fmt::format("{:.1f} points", 100 * value)
                                             : fmt::format("{:.1f}%", 100 * value);
}

}  // namespace

std::string PageWriter::title() const {
  std::vector<std::string> labels;
  for (const RunRecord& pool : data_.pools) labels.push_back(pool.label);
  return (groups_.empty() ? "Passport networks: " : "Passport networks under attack: ") +
         joined(labels, ", ");
}

std::string PageWriter::subtitle() const {
  const size_t networks = data_.runs.size();
  if (!several())
    return data_.pools[0].network() +
           (networks > 1 ? fmt::format(", {} networks of different seeds", networks) : "");
  if (networks == data_.pools.size()) return fmt::format("{} networks side by side", networks);
  return fmt::format("{} networks of {} kinds; those of a kind differ in their seeds alone",
                     networks, data_.pools.size());
}

std::string PageWriter::networks() {
  std::vector<std::string> rows = {"folder",
                                   "networks",
                                   "network",
                                   "classes",
                                   "data",
                                   "sites",
                                   "bits",
                                   "accuracy, public",
                                   "accuracy, passport",
                                   "bits that match",
                                   "log2 p, corrected",
                                   "verdict",
                                   "SHA-256"};
  Table t{
      .caption =
          "The networks; those that differ in their seeds alone stand together. Accuracy, bits and "
          "verdict are those of the untouched network (passnorm verify; else of its last epoch "
          "of training).",
      .head = {""},
      .left = 8,
      .classes = "long hash"};
  for (const RunRecord& pool : data_.pools) t.head.push_back(pool.label);
  for (std::string& name : rows) t.rows.push_back({std::move(name)});
  for (const RunRecord& run : data_.pools) {
    std::vector<std::string> sites, hashes;
    for (const size_t member : run.members)
      if (!data_.runs[member].sha256.empty()) hashes.push_back(data_.runs[member].sha256);
    for (const auto& [name, bits] : run.sites) sites.push_back(fmt::format("{} ({})", name, bits));
    BranchAccuracy accuracy;
    if (!run.epochs.empty()) accuracy = run.epochs.back().test;
    if (run.claim && (run.claim->accuracy.released || run.claim->accuracy.passport))
      accuracy = run.claim->accuracy;
    const auto known = [](const std::string& text) { return text.empty() ? "-" : text; };
    const std::string values[] = {joined(run.folders, ", "),
                                  fmt::format("{}", run.members.size()),
                                  run.network(),
                                  run.classes > 0 ? fmt::format("{}", run.classes) : "-",
                                  known(run.data),
                                  known(joined(sites, ", ")),
                                  run.sites.empty() ? "-" : fmt::format("{}", run.bits()),
                                  percent_text(accuracy.released, true),
                                  percent_text(accuracy.passport, true),
                                  run.claim                ? bits_text(*run.claim, true)
                                  : run.epochs.empty()     ? "-"
                                  : run.epochs.back().bits ? percent_text(run.epochs.back().bits)
                                                           : "-",
                                  run.claim ? log2_text(run.claim->corrected()) : "-",
                                  run.claim ? run.claim->verdict : "-",
                                  known(joined(hashes, ", "))};
    for (size_t i = 0; i < t.rows.size(); ++i) t.rows[i].push_back(values[i]);
  }
  return "<h2>Networks</h2>\n" + table(t);
}

std::string PageWriter::training() {
  double most_epochs = 0, most_loss = 0;
  for (const RunRecord& pool : data_.pools)
    for (const EpochRecord& e : pool.epochs) {
      most_epochs = std::max(most_epochs, static_cast<double>(e.epoch));
      most_loss =
          std::max({most_loss, e.loss_public.value_or(0).value, e.loss_passport.value_or(0).value});
    }
  if (most_epochs == 0) return {};
  Axis epochs = linear_axis("epoch", 1, std::max(2.0, most_epochs));
  std::erase_if(epochs.ticks, [](const auto& t) { return t.at != std::floor(t.at); });
  Chart loss{.title = "Cross-entropy in training",
             .x = epochs,
             .y = linear_axis("", 0, most_loss > 0 ? most_loss : 1)};
  Chart accuracy{.title = "Accuracy on the test set", .x = epochs, .y = percent_axis("")};
  Chart bits{.title = "Bits that match",
             .x = epochs,
             .y = percent_axis(""),
             .references = {{0.5, "chance"}}};
  Chart triggers{.title = "Accuracy on the triggers", .x = epochs, .y = percent_axis("")};
  Table t{.caption = "Training, by epochs. Bits: at the last step of the epoch.",
          .head = {"epoch", "network", "loss, public", "passport", "sign loss", "accuracy, public",
                   "passport", "bits"},
          .left = 2};
  for (size_t i = 0; i < data_.pools.size(); ++i) {
    const RunRecord& run = data_.pools[i];
    const auto line = [&](Chart& chart, const std::string& what, Line style, auto value) {
      add(chart, curve(run, i, label(i, what), style, value));
    };
    line(loss, "public", Line::kSolid, [](const EpochRecord& e) { return e.loss_public; });
    line(loss, "passport", Line::kDashed, [](const EpochRecord& e) { return e.loss_passport; });
    line(accuracy, "public", Line::kSolid, [](const EpochRecord& e) { return e.test.released; });
    line(accuracy, "passport", Line::kDashed, [](const EpochRecord& e) { return e.test.passport; });
    line(triggers, "public", Line::kSolid,
         [](const EpochRecord& e) { return e.triggers.released; });
    line(triggers, "passport", Line::kDashed,
         [](const EpochRecord& e) { return e.triggers.passport; });
    line(bits, "owner", Line::kSolid, [](const EpochRecord& e) { return e.bits; });
    const auto number = [](const std::optional<Measured>& v) {
      return v ? fmt::format("{:.4g}", v->value) : std::string("-");
    };
    for (const size_t row : shown_rows(run.epochs.size(), 12)) {
      const EpochRecord& e = run.epochs[row];
      t.rows.push_back({fmt::format("{}", e.epoch), run.label, number(e.loss_public),
                        number(e.loss_passport), number(e.sign_loss), percent_text(e.test.released),
                        percent_text(e.test.passport), percent_text(e.bits)});
    }
  }
  std::string panels;
  size_t drawn = 0;
  for (Chart* chart : {&loss, &accuracy, &bits, &triggers}) {
    if (chart->series.empty()) continue;
    chart->description = chart->title + " against epochs; the table below has the numbers.";
    panels += svg(*chart);
    ++drawn;
  }
  return "<h2>Training</h2>\n" +
         figure(panels, "Both branches over the epochs of training." + legend(false),
                drawn % 2 == 1) +
         table(t);
}

std::string PageWriter::published() {
  std::string out =
      "<h2>Published figures beside ours</h2>\n"
      "<p>Ours were measured on the networks of this report. A star marks those whose architecture "
      "or data set is not the published one: such a pair is no comparison of like with like.</p>\n";
  Table t{.caption =
              "Published figures, their marks (see below), and ours (* of another network or data "
              "set).",
          .head = {"what", "network", "data", "published", "mark", "ours", "source"},
          .left = 7,
          .classes = "long"};
  for (const PublishedFigure& f : published_figures()) {
    std::vector<std::string> values;
    for (const OurFigure& our : ours(f, data_))
      values.push_back(fmt::format("{} {}{}", data_.pools[our.pool].label, our_text(f, our.value),
                                   our.same_setting ? "" : "*"));
    t.rows.push_back({std::string(f.what), display_name(f.network), display_name(f.data),
                      display_name(f.value), std::string(name_of(f.mark)),
                      values.empty() ? "-" : joined(values, ", "), std::string(f.source)});
  }
  out += table(t);

  Chart chart{.title = "Accuracy of the forger's passport branch",
              .x = linear_axis("share of the signature's bits flipped (%)", 0, 100),
              .y = percent_axis("")};
  std::string sources;
  constexpr Line kLines[] = {Line::kSolid, Line::kDashed, Line::kDotted};
  for (const PublishedCurve& c : published_curves()) {
    Series s{.label = std::string(c.label),
             .line = kLines[chart.series.size() % std::size(kLines)],
             .grey = true};
    for (const auto& [x, y] : c.points) s.points.push_back({100 * x, y});
    chart.series.push_back(std::move(s));
    sources += fmt::format(" {} ({}): {}.", html(c.label), name_of(c.mark), html(c.source));
  }
  for (const AttackGroup& group : groups_)
    for (const auto& [pool, attack] : group.items) {
      if (!is_flipped_forgery(*attack)) continue;
      Series s{.label = label(pool, attack->name), .colour = pool};
      for (const PointRecord& p : attack->points)
        if (p.forger) s.points.push_back({100 * p.x, p.forger->accuracy.passport});
      add(chart, std::move(s));
    }
  chart.description =
      "Published curves of accuracy against the share of flipped bits, and those of this report.";
  return out + figure(svg(chart),
                      "A forger trains passports near the genuine ones towards a "
                      "signature with flipped bits (fake3, ambiguity-2). Grey: published." +
                          sources,
                      true);
}

std::string PageWriter::reading() const {
  std::string text = replaced(std::string(kReading), "{intervals}", html(kIntervals, 4000));
  text = replaced(text, "{limit}", fmt::format("{:.0f}", verify::kLog2Threshold));
  return replaced(text, "{points}", fmt::format("{:.0f}", 100 * kTaskStands));
}

std::string PageWriter::settings() {
  std::string out = "<h2>Settings and seeds</h2>\n";
  Table attacks{
      .caption = "Attacks: every setting that was used.",
      .head = {"attack", "network", "seeds", "data", "training images", "test images", "settings"},
      .left = 7,
      .classes = "long"};
  for (const AttackGroup& group : groups_)
    for (const auto& [pool, a] : group.items) {
      std::vector<std::string> values, seeds;
      for (const int64_t seed : a->seeds) seeds.push_back(fmt::format("{}", seed));
      for (const auto& [name, value] : a->settings) values.push_back(name + " = " + value);
      attacks.rows.push_back({a->title, data_.pools[pool].label, joined(seeds, ", "), a->data,
                              limit_text(a->limit_train), limit_text(a->limit_test),
                              values.empty() ? "-" : joined(values, ", ")});
    }
  if (!attacks.rows.empty()) out += table(attacks);
  std::vector<std::string> names;
  for (const RunRecord& pool : data_.pools)
    for (const auto& [name, value] : pool.settings)
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  Table training{.caption =
                     "Training: config.toml of each run; of several that differ in their seeds "
                     "alone, what differs stands one after another.",
                 .head = {"setting"},
                 .left = 8,
                 .classes = "long hash"};
  for (const RunRecord& pool : data_.pools) training.head.push_back(pool.label);
  for (const std::string& name : names) {
    auto& row = training.rows.emplace_back(std::vector{name});
    for (const RunRecord& pool : data_.pools) {
      const auto it = std::ranges::find(pool.settings, name, [](const auto& s) { return s.first; });
      row.push_back(it == pool.settings.end() || it->second.empty() ? "-" : it->second);
    }
  }
  if (!names.empty()) out += table(training);
  return attacks.rows.empty() && names.empty() ? std::string() : out;
}

std::string PageWriter::missing() const {
  if (data_.missing.empty()) return {};
  std::string out = "<h2>What is missing</h2>\n<ul>\n";
  for (const std::string& line : data_.missing) out += "<li>" + html(line, 1000) + "</li>\n";
  return out + "</ul>\n";
}

std::string PageWriter::page() {
  // In the order of the page: figures and tables are numbered as they are written.
  std::string body = networks();
  body += missing();
  body += training();
  body += attacks();
  body += published();
  body += reading();
  body += settings();
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<title>{0}</title>\n<style>{1}{2}</style>\n</head>\n<body>\n<header>\n<h1>{0}</h1>\n"
      "<p class=\"sub\">{3}</p>\n</header>\n<main>\n{4}</main>\n"
      "<footer>Made by passnorm {5} from the folders named above. The JSON document of "
      "passnorm report holds the same numbers, and all points.</footer>\n</body>\n</html>\n",
      html(title()), kChartStyle, kPageStyle, html(subtitle()), body, kVersion);
}

std::string report_page(const ReportData& data) { return PageWriter(data).page(); }

}  // namespace passnorm::cli
