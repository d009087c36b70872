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
<i>Not supported</i>: anything else. A verdict says that a network was derived from one that carries the passport, or was
rewritten for it. It has no date. Of two supported claims that one was first whose hash was published earlier together with
that of its network's file; the date of a secret alone can be older than a theft, and says nothing of this network.</li>
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

/// A value of each epoch.
template <class F>
Series curve(const RunRecord& run, size_t colour, std::string label, Line line, F value) {
  Series s{.label = std::move(label), .colour = colour, .line = line};
  for (const EpochRecord& e : run.epochs)
    s.points.push_back({static_cast<double>(e.epoch), value(e)});
  return s;
}

/// Of the sites that any epoch names.
std::vector<std::string> site_names(const RunRecord& run) {
  std::vector<std::string> names;
  for (const EpochRecord& e : run.epochs)
    for (const auto& [name, bits] : e.sites)
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  return names;
}

std::string limit_text(int64_t limit) { return limit == 0 ? "all" : fmt::format("{}", limit); }

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
  Chart accuracy{
      .title = "Accuracy on the test set (thin: in training)", .x = epochs, .y = percent_axis("")};
  Chart bits{.title = "Bits that match (thin: single sites)",
             .x = epochs,
             .y = percent_axis(""),
             .references = {{0.5, "chance"}}};
  Chart triggers{.title = "Accuracy on the triggers", .x = epochs, .y = percent_axis("")};
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
    const auto thin = [&](Chart& chart, Line style, auto value) {
      Series s = curve(run, i, "", style, value);
      s.thin = true;
      add(chart, std::move(s));
    };
    thin(accuracy, Line::kSolid, [](const EpochRecord& e) { return e.train.released; });
    thin(accuracy, Line::kDashed, [](const EpochRecord& e) { return e.train.passport; });
    for (const std::string& site : site_names(run))
      thin(bits, Line::kSolid, [&](const EpochRecord& e) { return e.site(site); });
  }
  std::string panels;
  size_t drawn = 0;
  for (Chart* chart : {&loss, &accuracy, &bits, &triggers}) {
    if (chart->series.empty()) continue;
    chart->description = chart->title + " against epochs; the tables below have the numbers.";
    panels += svg(*chart);
    ++drawn;
  }
  std::string out = "<h2>Training</h2>\n";
  if (drawn > 0)
    out += figure(panels,
                  "Both branches over the epochs of training. In training: on the epoch's batches, "
                  "as they were augmented, while the weights changed." +
                      legend(panels, false),
                  drawn % 2 == 1);
  return out + training_tables();
}

std::string PageWriter::training_tables() {
  Table t{.caption =
              "Training, by epochs. Accuracy: on the test set; in training: on the epoch's "
              "batches. Bits: at the last step of the epoch.",
          .head = {"epoch", "network", "loss, public", "passport", "sign loss",
                   "in training, public", "passport", "accuracy, public", "passport", "bits"},
          .left = 2};
  const auto number = [](const std::optional<Measured>& v) {
    return v ? fmt::format("{:.4g}", v->value) : std::string("-");
  };
  for (const RunRecord& run : data_.pools)
    for (const size_t row : shown_rows(run.epochs.size(), kMostRows)) {
      const EpochRecord& e = run.epochs[row];
      t.rows.push_back(
          {fmt::format("{}", e.epoch), run.label, number(e.loss_public), number(e.loss_passport),
           number(e.sign_loss), percent_text(e.train.released), percent_text(e.train.passport),
           percent_text(e.test.released), percent_text(e.test.passport), percent_text(e.bits)});
    }
  std::string out = table(t), sites;
  for (const RunRecord& run : data_.pools) {
    const std::vector<std::string> names = site_names(run);
    if (names.size() < 2) continue;  // the bits above
    std::vector<std::string> epochs;
    std::vector<std::vector<std::string>> cells(names.size());
    for (const size_t row : shown_rows(run.epochs.size(), kMostRows)) {
      const EpochRecord& e = run.epochs[row];
      epochs.push_back(fmt::format("{}", e.epoch));
      for (size_t i = 0; i < names.size(); ++i) cells[i].push_back(percent_text(e.site(names[i])));
    }
    sites += table(cross_table(
        fmt::format("Training, {}: bits that match at each site, by epochs.", run.label), names,
        epochs, cells));
  }
  return out + (sites.empty() ? "" : "<div class=\"tables\">\n" + sites + "</div>\n");
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
      const auto add_settings = [&](const std::string& of, const SettingTexts& settings) {
        for (const auto& [name, value] : settings) values.push_back(of + name + " = " + value);
      };
      for (const AttackLink& link : a->chain) add_settings(link.name + ": ", link.settings);
      add_settings("", a->settings);
      if (a->batch) values.push_back(fmt::format("batch = {}", *a->batch));
      if (!a->other_data.empty()) values.push_back("other data = " + a->other_data);
      if (!a->triggers.empty()) values.push_back("triggers = " + a->triggers);
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
      "{6}{0}</title>\n<style>{1}{2}</style>\n</head>\n<body>\n<header>\n<h1>{0}</h1>\n"
      "<p class=\"sub\">{3}</p>\n</header>\n<main>\n{4}</main>\n"
      "<footer>Made by passnorm {5} from the folders named above. The JSON document of "
      "passnorm report holds the same numbers, and all points.</footer>\n</body>\n</html>\n",
      html(title()), kChartStyle, kPageStyle, html(subtitle()), body, kVersion, kPageStart);
}

std::string report_page(const ReportData& data) { return PageWriter(data).page(); }

}  // namespace passnorm::cli
