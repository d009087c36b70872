// Claims, attacks and epochs as report_data.hpp has them, out of JSON.
#include <algorithm>

#include "cli/json_field.hpp"
#include "cli/report_data.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"
#include "verify/examine.hpp"

namespace passnorm::cli {
namespace {

constexpr size_t kMostPoints = 10'000, kMostSites = 1000, kMostNames = 1000;
constexpr int64_t kLarge = int64_t{1} << 53;  // whole numbers that JSON readers agree on
constexpr int64_t kMostBits = 10'000'000;
constexpr size_t kMostEpochs = 100'000;

std::optional<Measured> share(const JsonField& object, const char* key) {
  const auto value = object.maybe(key);
  return value ? std::optional<Measured>(value->number(0, 1)) : std::nullopt;
}

/// {"public": a | null, "passport": b | null}
BranchAccuracy read_accuracy(const JsonField& f) {
  return {share(f, "public"), share(f, "passport")};
}
std::optional<BranchAccuracy> maybe_accuracy(const JsonField& f, const char* key) {
  const auto value = f.maybe(key);
  return value ? std::optional(read_accuracy(*value)) : std::nullopt;
}

std::optional<NullAccuracy> read_null(const JsonField& f) {
  const auto accuracy = f.maybe("accuracy");
  if (!accuracy) return {};
  NullAccuracy null{.passports = f["passports"].integer(0, kLarge),
                    .images = (*accuracy)["images"].integer(0, kLarge),
                    .owner = (*accuracy)["owner"].number(0, 1),
                    .mean = (*accuracy)["mean"].number(0, 1),
                    .best = (*accuracy)["best"].number(0, 1)};
  for (const JsonField& count : (*accuracy)["histogram"].elements(1000))
    null.histogram.push_back(count.integer(0, kLarge));
  return null;
}

}  // namespace

ClaimRecord read_claim(const JsonField& f) {
  ClaimRecord c;
  const JsonField verdict = f["verdict"];
  c.verdict = verdict.text();
  using verify::Verdict;
  const std::string_view known[] = {name_of(Verdict::kSupported), name_of(Verdict::kInconclusive),
                                    name_of(Verdict::kNotSupported)};
  if (std::ranges::find(known, c.verdict) == std::end(known))
    verdict.refuse("unknown verdict " + quote(c.verdict));
  c.bits_bound = f["bits_bound"].flag();
  const JsonField bits = f["bits"];
  c.total = bits["total"].integer(0, kMostBits);
  c.matched = bits["matched"].integer(0, c.total);
  c.log2_p = f["log2_p"].number(-1e9, 0);
  c.log2_tests = f["log2_tests"].number(0, 1e9);
  for (const JsonField& site : f["sites"].elements(kMostSites)) {
    const int64_t total = site["total"].integer(0, kMostBits);
    c.sites.push_back({site["name"].text(), site["matched"].integer(0, total), total});
  }
  const JsonField accuracy = f["accuracy"];
  c.accuracy = read_accuracy(accuracy);
  if (const auto images = accuracy.maybe("images")) c.images = images->integer(1, kLarge);
  if (const auto null = f.maybe("null")) c.null = read_null(*null);
  return c;
}

namespace {

PointRecord read_point(const JsonField& f) {
  PointRecord p{.x = f["x"].number(-1e15, 1e15), .owner = read_claim(f["owner"])};
  if (const auto forger = f.maybe("forger")) p.forger = read_claim(*forger);
  p.triggers = maybe_accuracy(f, "triggers");
  if (const auto metrics = f.maybe("metrics"))
    for (const auto& [name, value] : metrics->members(kMostNames))
      if (!value.is_null()) p.metrics.emplace_back(name, value.number(-1e300, 1e300));
  return p;
}

std::string maybe_text(const JsonField& f, const char* key) {
  const auto value = f.maybe(key);
  return value ? value->text() : std::string();
}

SettingTexts read_settings(const JsonField& f) {
  SettingTexts settings;
  for (const auto& [name, value] : f["settings"].members(kMostNames))
    settings.emplace_back(name, value.text());
  return settings;
}

/// The attacks before the document's; only `links`, which has the last one too, has their settings.
std::vector<AttackLink> read_chain(const JsonField& f) {
  std::vector<AttackLink> chain;
  for (const JsonField& before : f["chain"].elements(kMostNames))
    chain.push_back({before.text(), {}});
  const auto links = f.maybe("links");
  if (!links) return chain;
  const std::vector<JsonField> all = links->elements(kMostNames + 1);
  if (all.size() != chain.size() + 1)
    links->refuse(concat(chain.size() + 1, " were expected, those of the chain and the attack"));
  for (size_t i = 0; i < chain.size(); ++i) {
    const JsonField name = all[i]["attack"];
    if (name.text() != chain[i].name) name.refuse("is not that of the chain");
    chain[i].settings = read_settings(all[i]);
  }
  return chain;
}

}  // namespace

AttackRecord parse_attack(const std::string& file, std::string_view text) {
  AttackRecord a{.file = text_of_path(file), .document = parse_json(file, text)};
  const JsonField f(a.document, file);
  const std::string format = f["format"].text();
  if (format != "passnorm.attack/1")
    f["format"].refuse("passnorm.attack/1 was expected, not " + quote(format));
  a.name = f["attack"].text();
  a.description = f["description"].text();
  a.source = f["source"].text();
  a.axis = f["axis"].text();
  a.data = f["data"].text();
  a.other_data = maybe_text(f, "other_data");
  a.triggers = maybe_text(f, "triggers");
  a.chain = read_chain(f);
  a.settings = read_settings(f);
  if (const auto batch = f.maybe("batch")) a.batch = batch->integer(1, kLarge);
  a.seeds = {f["seed"].integer(0, INT64_MAX)};
  a.limit_train = f["limit_train"].integer(0, kLarge);
  a.limit_test = f["limit_test"].integer(0, kLarge);
  const auto number = [&](const char* key) -> std::optional<int64_t> {
    const auto images = f.maybe(key);
    const int64_t n = images ? images->integer(0, kLarge) : 0;
    return n > 0 ? std::optional(n) : std::nullopt;  // 0: there were none
  };
  // After a transfer accuracy is that on the other data.
  const bool other = setting_of(a.settings, "task") == "other";
  a.test_images = number(other ? "other_test_images" : "test_images");
  a.trigger_images = number("trigger_images");
  const JsonField model = f["model"];
  a.architecture = model["architecture"].text();
  a.scheme = model["scheme"].text();
  a.norm = model["norm"].text();
  a.classes = model["classes"].integer(1, kLarge);
  a.sha256 = model["sha256"].text();
  for (const JsonField& site : model["sites"].elements(kMostSites))
    a.sites.emplace_back(site["name"].text(), site["bits"].integer(0, kMostBits));
  for (const JsonField& point : f["points"].elements(kMostPoints))
    a.points.push_back(read_point(point));
  if (a.points.empty()) f["points"].refuse("there are none");
  // How many signs flip turns is its setting; the weights, where it reads these, do not change.
  if (a.name == "flip" && setting_of(a.settings, "detection") != "weights")
    for (size_t i = 1; i < a.points.size(); ++i) a.points[i].owner.fixed_count = true;
  return a;
}

EpochRecord read_epoch(const JsonField& f) {
  const auto number = [](const JsonField& object, const char* key) {
    const auto value = object.maybe(key);
    return value ? std::optional<Measured>(value->number(-1e300, 1e300)) : std::nullopt;
  };
  EpochRecord e{.epoch = f["epoch"].integer(1, kLarge),
                .sign_loss = number(f, "sign_loss"),
                .bits = share(f, "bits"),
                .train = maybe_accuracy(f, "train_accuracy").value_or(BranchAccuracy{}),
                .test = maybe_accuracy(f, "test_accuracy").value_or(BranchAccuracy{}),
                .triggers = maybe_accuracy(f, "trigger_accuracy").value_or(BranchAccuracy{})};
  if (const auto sites = f.maybe("sites"))
    for (const auto& [name, value] : sites->members(kMostSites))
      if (!value.is_null()) e.sites.emplace_back(name, value.number(0, 1));
  if (const auto loss = f.maybe("loss")) {
    e.loss_public = number(*loss, "public");
    e.loss_passport = number(*loss, "passport");
  }
  return e;
}

void parse_metrics(const std::string& file, std::string_view text, RunRecord& run) {
  for (size_t at = 0, number = 1; at < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string where = concat(file, ":", number);
    if (number > kMostEpochs)
      fail(Fault::kInput, printable(file, 4096), ": more than ", kMostEpochs, " lines");
    Json line = parse_json(where, text.substr(at, end - at));
    at = end + 1;
    run.epochs.push_back(read_epoch(JsonField(line, where)));
    // Two runs of one seed differ in these alone.
    for (const char* time : {"images_per_second", "seconds"}) line.erase(time);
    run.metrics.push_back(std::move(line));
  }
}

}  // namespace passnorm::cli
