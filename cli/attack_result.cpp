#include "cli/attack_result.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/examined.hpp"
#include "cli/help.hpp"

namespace passnorm::cli {
namespace {

using verify::Attack;
using verify::AttackPoint;
using verify::Claim;

Json point_json(const AttackPoint& p) {
  Json metrics = Json::object();
  for (const auto& [name, value] : p.metrics) metrics[name] = value;
  return {{"x", p.x},
          {"owner", claim_json(p.owner)},
          {"forger", p.forger ? claim_json(*p.forger) : Json(nullptr)},
          {"triggers", p.triggers ? accuracy_json(p.triggers) : Json(nullptr)},
          {"metrics", std::move(metrics)}};
}

std::string branch(const Claim& claim, bool passport) {
  if (!claim.evaluation) return "-";
  return percent(passport ? claim.evaluation->passport_accuracy
                          : claim.evaluation->public_accuracy);
}

std::string bits(const Claim& claim) { return fmt::format("{}/{}", claim.matched, claim.total); }

/// "name value; name value"; counts of a histogram are left to the document.
std::string metrics_text(const AttackPoint& p) {
  std::string out;
  for (const auto& [name, value] : p.metrics)
    if (!name.ends_with("%"))
      out += fmt::format("{}{} {:.6g}", out.empty() ? "" : "; ", name, value);
  return out;
}

Json settings_json(const verify::AttackSettings& settings) {
  Json out = Json::object();
  for (const auto& [name, value] : settings.all()) out[name] = value;
  return out;
}

Json given_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

}  // namespace

Json attack_json(const AttackCall& c, const verify::AttackResult& result) {
  const ModelOptions& options = c.model.options();
  const Attack& attack = *c.steps.back().attack;
  Json chain = Json::array(), links = Json::array(), sites = Json::array(), points = Json::array();
  for (const AttackStep& s : c.steps.first(c.steps.size() - 1)) chain.push_back(s.attack->name);
  for (const AttackStep& s : c.steps)
    links.push_back({{"attack", s.attack->name}, {"settings", settings_json(s.settings)}});
  for (const Site& s : c.model.sites()) sites.push_back({{"name", s.name}, {"bits", s.channels()}});
  for (const AttackPoint& p : result.points) points.push_back(point_json(p));
  return {{"format", "passnorm.attack/1"},
          {"attack", attack.name},
          {"description", attack.description},
          {"source", attack.source},
          {"settings", settings_json(c.steps.back().settings)},
          {"seed", c.seed},
          {"batch", c.batch},
          {"chain", std::move(chain)},
          {"links", std::move(links)},
          {"model",
           {{"architecture", c.model.architecture().name},
            {"scheme", options.plan.scheme->name},
            {"norm", options.folded ? "folded" : name_of(options.norm)},
            {"classes", options.classes},
            {"sites", std::move(sites)},
            {"sha256", c.model_sha256}}},
          {"passport_sha256", c.passport_sha256},
          {"data", c.data},
          {"other_data", given_or_null(c.other_data)},
          {"triggers", given_or_null(c.triggers)},
          {"triggers_sha256", hash_json(c.triggers_sha256)},
          {"limit_train", c.limit_train},
          {"limit_test", c.limit_test},
          {"test_images", c.test_images},
          {"other_test_images", c.other_test_images},
          {"trigger_images", c.trigger_images},
          {"axis", result.axis},
          {"points", std::move(points)}};
}

std::string attack_text(const AttackCall& c, const verify::AttackResult& result) {
  bool forged = false;
  for (const AttackPoint& p : result.points) forged |= p.forger.has_value();
  // Without blanks at the end.
  std::string out =
      fmt::format("{}: {}\n", chain_name(c.steps), c.steps.back().attack->description);
  const auto line = [&](const std::string& owner, const std::string& verdict,
                        const std::string& forger) {
    out += owner + (forger.empty() ? verdict : fmt::format("{:<13}  {}", verdict, forger)) + "\n";
  };
  line(fmt::format("{:>10}  {:>8}  {:>8}  {:>11}  {:>8}  ", "x", "public", "passport", "bits",
                   "log2 p"),
       "verdict",
       forged ? fmt::format("{:>11}  {:>8}  {}", "forged bits", "accuracy", "verdict") : "");
  for (const AttackPoint& p : result.points)
    line(fmt::format("{:>10.6g}  {:>8}  {:>8}  {:>11}  {:>8.1f}  ", p.x, branch(p.owner, false),
                     branch(p.owner, true), bits(p.owner),
                     p.owner.log2_p > -0.05 ? 0 : p.owner.log2_p),  // no -0.0
         std::string(verify::name_of(p.owner.verdict)),
         p.forger ? fmt::format("{:>11}  {:>8}  {}", bits(*p.forger), branch(*p.forger, true),
                                verify::name_of(p.forger->verdict))
                  : "");
  out += fmt::format("x: {}; accuracy on {} test {}", result.axis, c.test_images, c.noun);
  if (c.other_test_images > 0) out += fmt::format(", {} of the other task", c.other_test_images);
  if (c.trigger_images > 0) out += fmt::format(", {} triggers", c.trigger_images);
  out += "\n";
  for (const AttackPoint& p : result.points) {
    const std::string left = fmt::format("  {:.6g}: ", p.x);
    if (const std::string metrics = metrics_text(p); !metrics.empty())
      out += left + wrapped(metrics, left.size(), 4) + "\n";
    if (p.triggers)
      out +=
          fmt::format("  {:.6g}: triggers {} public, {} passport\n", p.x,
                      percent(p.triggers->public_accuracy), percent(p.triggers->passport_accuracy));
  }
  return out;
}

Json attacks_json() {
  Json out = Json::array();
  for (const Attack& a : verify::attacks()) {
    Json settings = Json::array();
    for (const verify::AttackSetting& s : a.settings)
      settings.push_back({{"name", s.name}, {"default", s.value}, {"help", s.help}});
    out.push_back({{"name", a.name},
                   {"description", a.description},
                   {"source", a.source},
                   {"trains", a.trains},
                   {"settings", std::move(settings)}});
  }
  return {{"attacks", std::move(out)}};
}

std::string attacks_text() {
  std::string out =
      "Attacks in the order of passnorm attack all. Their settings stand with the\n"
      "values that they have unless --set says otherwise.\n";
  for (const Attack& a : verify::attacks()) {
    out += fmt::format("\n{}: {}\n", a.name,
                       wrapped(std::string(a.description), a.name.size() + 2, 2));
    out += fmt::format("  source: {}\n", wrapped(std::string(a.source), 10, 10));
    if (a.trains) out += "  trains on the training part of --data\n";
    for (const verify::AttackSetting& s : a.settings) {
      const std::string left = fmt::format("  {}={}", s.name, s.value);
      const size_t used = std::max<size_t>(left.size(), 28) + 1;
      out += fmt::format("{:<28} {}\n", left, wrapped(std::string(s.help), used, 29));
    }
  }
  return out;
}

}  // namespace passnorm::cli
