// The JSON document of a report.
#include "cli/report_page.hpp"
#include "cli/report_summary.hpp"

namespace passnorm::cli {
namespace {

template <class T>
Json value_or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}
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

Json standing_json(const AttackRecord& attack, const PointRecord* p) {
  if (p == nullptr) return nullptr;
  return {{"x", p->x},
          {"accuracy", value_or_null(task_accuracy(attack, *p))},
          {"bits", {{"matched", p->owner.matched}, {"total", p->owner.total}}},
          {"log2_p_corrected", p->owner.corrected()},
          {"verdict", p->owner.verdict}};
}

Json forger_json(const PointRecord* p) {
  if (p == nullptr) return nullptr;
  const ClaimRecord& f = *p->forger;
  return {{"x", p->x},
          {"accuracy", value_or_null(f.accuracy.passport)},
          {"owner_accuracy", value_or_null(p->owner.accuracy.passport)},
          {"bits", {{"matched", f.matched}, {"total", f.total}}},
          {"bits_bound", f.bits_bound},
          {"log2_p_corrected", f.corrected()},
          {"verdict", f.verdict}};
}

Json figure_json(const PublishedFigure& f, const ReportData& data) {
  Json our = Json::array();
  for (const OurFigure& o : ours(f, data))
    our.push_back(
        {{"run", data.runs[o.run].label}, {"value", o.value}, {"same_setting", o.same_setting}});
  return {{"id", f.id},
          {"what", f.what},
          {"network", text_or_null(f.network)},
          {"data", text_or_null(f.data)},
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
  Json runs = Json::array(), summary = Json::array(), figures = Json::array(),
       curves = Json::array();
  for (const RunRecord& run : data.runs) runs.push_back(run_json(run));
  for (const AttackSummary& s : summaries(data))
    summary.push_back({{"attack", s.attack->title},
                       {"run", data.runs[s.run].label},
                       {"accuracy_before", value_or_null(s.before)},
                       {"task_stands", standing_json(*s.attack, s.stands)},
                       {"end", standing_json(*s.attack, s.last)},
                       {"best_forger", forger_json(s.forger)}});
  for (const PublishedFigure& f : published_figures()) figures.push_back(figure_json(f, data));
  for (const PublishedCurve& c : published_curves()) curves.push_back(curve_json(c));
  return {{"format", "passnorm.report/1"},
          {"runs", runs},
          {"summary", summary},
          {"published", {{"figures", figures}, {"curves", curves}}},
          {"missing", data.missing}};
}

}  // namespace passnorm::cli
