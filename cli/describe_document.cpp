// JSON documents that this program writes: results of attacks, claims, reports, lists of triggers.
#include "cli/describe.hpp"
#include "cli/json_field.hpp"
#include "engine/io/crypto.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"
#include "train/data/trigger_manifest.hpp"

namespace passnorm::cli {
namespace {

constexpr size_t kMost = 100'000;  // elements of an array
constexpr int64_t kMostMatches = int64_t{1} << 40;

struct Text {
  const std::string& path;
  std::string_view text;
  JsonField fields;  ///< what it holds

  Json start(const char* kind) const {
    return {{"path", path}, {"kind", kind}, {"bytes", text.size()}};
  }
};

/// A claim on bits, or on triggers.
Json claim_rows(const JsonField& claim) {
  const JsonField counted = claim.maybe("bits") ? claim["bits"] : claim["triggers"];
  return {{"verdict", claim["verdict"].text()},
          {"matched", counted["matched"].integer(0, kMostMatches)},
          {"total", counted["total"].integer(0, kMostMatches)},
          {"log2_p", claim["log2_p"].number(-1e9, 0)},
          {"log2_tests", claim["log2_tests"].number(0, 1e9)}};
}

Json describe_claim(const Text& t) {
  Json json = t.start("claim");
  json["of"] = t.fields.maybe("bits") ? "passport" : "triggers";
  json.update(claim_rows(t.fields));
  json["signature"] = t.fields["signature"].text();
  return json;
}

Json describe_attack(const Text& t) {
  Json json = t.start("attack"), chain = Json::array();
  for (const JsonField& before : t.fields["chain"].elements(kMost)) chain.push_back(before.text());
  json["attack"] = t.fields["attack"].text();
  json["chain"] = chain;
  json["architecture"] = t.fields["model"]["architecture"].text();
  json["scheme"] = t.fields["model"]["scheme"].text();
  json["data"] = t.fields["data"].text();
  json["axis"] = t.fields["axis"].text();
  const std::vector<JsonField> points = t.fields["points"].elements(kMost);
  if (points.empty()) t.fields["points"].refuse("there are none");
  json["points"] = points.size();
  json["last"] = {{"x", points.back()["x"].number(-1e15, 1e15)}};
  json["last"].update(claim_rows(points.back()["owner"]));
  return json;
}

Json describe_report(const Text& t) {
  Json json = t.start("report"), networks = Json::array();
  size_t attacks = 0;
  for (const JsonField& run : t.fields["runs"].elements(kMost)) {
    networks.push_back(run["label"].text());
    attacks += run["attacks"].elements(kMost).size();
  }
  json["networks"] = networks;
  json["attacks"] = attacks;
  return json;
}

Json describe_triggers(const Text& t) {
  Json json = t.start("triggers");
  const bool bound = t.fields.maybe("bound").has_value();
  const train::TriggerManifest list = train::parse_trigger_manifest(
      printable(t.path, 4096), t.text, bound ? 0 : train::kMaxTriggerClasses);
  json["count"] = list.images.size();
  json["bound"] = bound;
  if (!bound) return json;
  json["classes"] = list.bound->classes;
  json["commitment"] = to_hex(list.bound->commitment);
  return json;
}

}  // namespace

Json describe_document(const std::string& path, std::string_view text) {
  Json document;
  try {
    document = parse_json(printable(path, 4096), text);
  } catch (const Error&) {
    if (!text.substr(0, text.find('\n')).ends_with('}')) throw;
    return nullptr;  // a value in each line, or damaged
  }
  if (!document.is_object() || document.contains("epoch")) return nullptr;
  const Text t{path, text, JsonField(document, path)};
  if (document.contains("verdict")) return describe_claim(t);
  const std::string format = document.contains("format") ? t.fields["format"].text() : "";
  constexpr std::pair<std::string_view, Json (*)(const Text&)> kFormats[] = {
      {"passnorm.attack/", describe_attack},
      {"passnorm.report/", describe_report},
      {"passnorm.triggers/", describe_triggers}};
  for (const auto& [start, describe_it] : kFormats)
    if (format.starts_with(start)) return describe_it(t);
  fail(Fault::kInput, printable(path, 4096),
       ": JSON, but none that this program writes: metrics, a claim, results of an attack, a "
       "report, a list of triggers");
}

}  // namespace passnorm::cli
