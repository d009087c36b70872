// The JSON document of a report.
#include "cli/report_page.hpp"
#include "cli/report_pool.hpp"
#include "cli/report_summary.hpp"

namespace passnorm::cli {
namespace {

Json text_or_null(std::string_view text) { return text.empty() ? Json(nullptr) : Json(text); }

Json run_json(const RunRecord& run) {
  Json sites = Json::array(), settings = Json::object(), attacks = Json::array();
  for (const auto& [name, bits] : run.sites) sites.push_back({{"name", name}, {"bits", bits}});
  for (const auto& [name, value] : run.settings) settings[name] = value;
  for (const AttackRecord& a : run.attacks)
    attacks.push_back({{"file", a.file}, {"document", a.document}});
  return {{"label", run.label},
          {"folders", run.folders},
          {"model",
           {{"architecture", text_or_null(run.architecture)},
            {"scheme", text_or_null(run.scheme)},
            {"norm", text_or_null(run.norm)},
            {"classes", run.classes > 0 ? Json(run.classes) : Json(nullptr)},
            {"sites", sites},
            {"sha256", text_or_null(run.sha256)}}},
          {"data", text_or_null(run.data)},
          {"settings", settings},
          {"training", run.metrics},
          {"claim", run.claim_document},
          {"attacks", attacks}};
}

/// The ends of its interval; null without.
Json low(const Measured& m) { return m.interval ? Json(m.interval->low) : Json(nullptr); }
Json high(const Measured& m) { return m.interval ? Json(m.interval->high) : Json(nullptr); }

Json measured_json(const std::optional<Measured>& m) {
  if (!m) return nullptr;
  return {{"mean", m->value}, {"low", low(*m)}, {"high", high(*m)}};
}

Json accuracy_json(const BranchAccuracy& a) {
  return {{"public", measured_json(a.released)}, {"passport", measured_json(a.passport)}};
}

Json pooled_json(const ClaimRecord& c) {
  const Measured share = c.share(), log2 = c.corrected();
  return {
      {"accuracy", accuracy_json(c.accuracy)},
      {"bits",
       {{"matched", c.matched}, {"total", c.total}, {"low", low(share)}, {"high", high(share)}}},
      {"bits_bound", c.bits_bound},
      {"log2_p_corrected", {{"mean", log2.value}, {"least", low(log2)}, {"most", high(log2)}}},
      {"verdict", c.verdict}};
}

Json pooled_json(const PointRecord& p) {
  Json metrics = Json::object();
  for (const auto& [name, value] : p.metrics) metrics[name] = measured_json(value);
  return {{"x", p.x},
          {"owner", pooled_json(p.owner)},
          {"forger", p.forger ? pooled_json(*p.forger) : Json(nullptr)},
          {"triggers", p.triggers ? accuracy_json(*p.triggers) : Json(nullptr)},
          {"metrics", metrics}};
}

/// A pool: which runs it is made of, and what was measured on them.
Json network_json(const RunRecord& pool, const std::vector<RunRecord>& runs) {
  Json members = Json::array(), attacks = Json::array();
  for (const size_t i : pool.members) members.push_back(runs[i].label);
  for (const AttackRecord& a : pool.attacks) {
    Json points = Json::array();
    for (const PointRecord& p : a.points) points.push_back(pooled_json(p));
    attacks.push_back(
        {{"attack", a.title}, {"seeds", a.seeds}, {"axis", a.axis}, {"points", points}});
  }
  return {{"label", pool.label},
          {"runs", members},
          {"claim", pool.claim ? pooled_json(*pool.claim) : Json(nullptr)},
          {"attacks", attacks}};
}

Json value_json(const std::optional<Measured>& m) { return m ? Json(m->value) : Json(nullptr); }

Json standing_json(const AttackRecord& attack, const PointRecord* p) {
  if (p == nullptr) return nullptr;
  return {{"x", p->x},
          {"accuracy", value_json(task_accuracy(attack, *p))},
          {"bits", {{"matched", p->owner.matched}, {"total", p->owner.total}}},
          {"log2_p_corrected", p->owner.corrected().value},
          {"verdict", p->owner.verdict}};
}

Json forger_json(const PointRecord* p) {
  if (p == nullptr) return nullptr;
  const ClaimRecord& f = *p->forger;
  return {{"x", p->x},
          {"accuracy", value_json(f.accuracy.passport)},
          {"owner_accuracy", value_json(p->owner.accuracy.passport)},
          {"bits", {{"matched", f.matched}, {"total", f.total}}},
          {"bits_bound", f.bits_bound},
          {"log2_p_corrected", f.corrected().value},
          {"verdict", f.verdict}};
}

Json figure_json(const PublishedFigure& f, const ReportData& data) {
  Json our = Json::array();
  for (const OurFigure& o : ours(f, data))
    our.push_back({{"network", data.pools[o.pool].label},
                   {"value", o.value},
                   {"bits", o.bits ? Json(*o.bits) : Json(nullptr)},
                   {"same_setting", o.differences.empty()},
                   {"differences", o.differences}});
  return {{"id", f.id},
          {"what", f.what},
          {"network", text_or_null(f.network)},
          {"data", text_or_null(f.data)},
          {"layers", f.layers > 0 ? Json(f.layers) : Json(nullptr)},
          {"value", text_or_null(f.value)},
          {"mark", name_of(f.mark)},
          {"source", f.source},
          {"ours", our}};
}

Json curve_json(const PublishedCurve& c) {
  Json points = Json::array();
  for (const auto& [x, y] : c.points) points.push_back({{"flipped", x}, {"accuracy", y}});
  return {{"id", c.id},
          {"label", c.label},
          {"mark", name_of(c.mark)},
          {"source", c.source},
          {"points", points}};
}

}  // namespace

Json report_json(const ReportData& data) {
  Json runs = Json::array(), networks = Json::array(), summary = Json::array(),
       figures = Json::array(), curves = Json::array();
  for (const RunRecord& run : data.runs) runs.push_back(run_json(run));
  for (const RunRecord& pool : data.pools) networks.push_back(network_json(pool, data.runs));
  for (const AttackSummary& s : summaries(data))
    summary.push_back({{"attack", s.attack->title},
                       {"network", data.pools[s.pool].label},
                       {"accuracy_before", value_json(s.before)},
                       {"task_stands", standing_json(*s.attack, s.stands)},
                       {"end", standing_json(*s.attack, s.last)},
                       {"best_forger", forger_json(s.forger)}});
  for (const PublishedFigure& f : published_figures()) figures.push_back(figure_json(f, data));
  for (const PublishedCurve& c : published_curves()) curves.push_back(curve_json(c));
  return {{"format", "passnorm.report/2"},
          {"runs", runs},
          {"networks", networks},
          {"intervals", kIntervals},
          {"summary", summary},
          {"published", {{"figures", figures}, {"curves", curves}}},
          {"missing", data.missing}};
}

}  // namespace passnorm::cli
