// A claim as JSON and as text.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/app.hpp"
#include "engine/io/text.hpp"

namespace passnorm::cli {
namespace {

struct Spread {
  double mean = 0, stddev = 0, most = 0;
};

template <class T>
Spread spread(const std::vector<T>& values) {
  Spread s;
  if (values.empty()) return s;
  const auto n = static_cast<double>(values.size());
  s.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  for (const T v : values)
    s.stddev += (static_cast<double>(v) - s.mean) * (static_cast<double>(v) - s.mean) / n;
  s.stddev = std::sqrt(s.stddev);
  s.most = static_cast<double>(*std::ranges::max_element(values));
  return s;
}

/// Counts in ten equal parts of [0, 1].
std::vector<int> histogram(const std::vector<double>& fractions) {
  std::vector<int> counts(10);
  for (const double f : fractions)
    ++counts[static_cast<size_t>(std::clamp(static_cast<int>(f * 10), 0, 9))];
  return counts;
}

}  // namespace

int exit_code(verify::Verdict verdict) {
  switch (verdict) {
    case verify::Verdict::kSupported:
      return kYes;
    case verify::Verdict::kInconclusive:
      return kInconclusive;
    case verify::Verdict::kNotSupported:
      return kNo;
  }
  return kNo;
}

Json claim_json(const verify::Claim& c) {
  Json sites = Json::array();
  for (const verify::SiteReport& s : c.sites)
    sites.push_back({{"name", s.name}, {"matched", s.matched}, {"total", s.total}});
  const Spread matched = spread(c.null.matched);
  Json null = {
      {"passports", c.null.matched.size()},
      {"seed", c.null.seed},
      {"matched", {{"mean", matched.mean}, {"stddev", matched.stddev}, {"most", matched.most}}}};
  if (!c.null.accuracy.empty()) {
    const Spread accuracy = spread(c.null.accuracy);
    null["accuracy"] = {{"images", c.null.images},
                        {"owner", *c.owner_on_null_images->passport_accuracy},
                        {"mean", accuracy.mean},
                        {"best", accuracy.most},
                        {"histogram", histogram(c.null.accuracy)}};
  }
  Json accuracy = accuracy_json(c.evaluation);
  if (c.evaluation) accuracy["images"] = c.evaluation->images;
  return {{"verdict", verify::name_of(c.verdict)},
          {"bits_bound", c.bits_bound},
          {"signature", c.signature.text},
          {"bits", {{"matched", c.matched}, {"total", c.total}}},
          {"log2_p", c.log2_p},
          {"tests", c.tests},
          {"possible_sites", c.possible_sites},
          {"log2_tests", c.log2_tests},
          {"threshold_log2", verify::kLog2Threshold},
          {"decidable", c.decidable},
          {"sites", sites},
          {"accuracy", accuracy},
          {"null", null}};
}

std::string claim_text(const verify::Claim& c, const char* noun) {
  std::string out = fmt::format("verdict     {}\n", verify::name_of(c.verdict));
  out += fmt::format("bits        {} of {} match\n", c.matched, c.total);
  const double corrected = c.log2_p + c.log2_tests;
  out += fmt::format(
      "chance      log2 p = {:.1f}; with {:.1f} bits for claims tried and choices of sites {:.1f}, "
      "{} (limit {:.0f})\n",
      c.log2_p, c.log2_tests, corrected,
      corrected <= verify::kLog2Threshold ? "beyond chance" : "within chance",
      verify::kLog2Threshold);
  if (!c.decidable)
    out +=
        "            no number of matches could reach the limit: the passport has too few bits\n";
  out += fmt::format("signature   {}\n",
                     c.signature.text.empty() ? "(no text)" : quote(c.signature.text));
  out += fmt::format("bound       {}\n",
                     c.bits_bound ? "yes: the bits follow from the key and the signature text"
                     : c.signature.kind == Signature::Kind::kText && c.signature.text.empty()
                         ? "no: the signature has no text: its bits stand for nobody"
                         : "no: whoever made this passport could choose its bits");
  for (const verify::SiteReport& s : c.sites)
    out += fmt::format("  {:<28} {:>5} / {}\n", s.name, s.matched, s.total);
  if (c.evaluation)
    out += fmt::format("accuracy    public {}, passport {} on {} {}\n",
                       percent(c.evaluation->public_accuracy),
                       percent(c.evaluation->passport_accuracy), c.evaluation->images, noun);
  if (!c.null.matched.empty()) {
    const Spread matched = spread(c.null.matched);
    out += fmt::format(
        "null        {} random passports with bits of their own match {:.1f} +- {:.1f}, at most "
        "{:.0f}\n",
        c.null.matched.size(), matched.mean, matched.stddev, matched.most);
  }
  if (!c.null.accuracy.empty()) {
    const Spread accuracy = spread(c.null.accuracy);
    out += fmt::format(
        "            their passport branch: mean {}, best {}; the owner's {} on the same {} {}\n",
        percent(accuracy.mean), percent(accuracy.most),
        percent(c.owner_on_null_images->passport_accuracy), c.null.images, noun);
    const std::vector<int> counts = histogram(c.null.accuracy);
    out +=
        "            accuracy   0-  10-  20-  30-  40-  50-  60-  70-  80-  90-100%\n            "
        "passports";
    for (const int n : counts) out += fmt::format(" {:>4}", n);
    out += "\n";
  }
  return out;
}

}  // namespace passnorm::cli
