// Claims, attacks and epochs as report_data.hpp has them, out of JSON.
#include <algorithm>

#include "cli/json_field.hpp"
#include "cli/report_data.hpp"
#include "engine/io/text.hpp"
#include "verify/examine.hpp"

namespace passnorm::cli {
namespace {

constexpr size_t kMostPoints = 10'000, kMostSites = 10'000, kMostNames = 10'000;
constexpr int64_t kLarge = int64_t{1} << 53;  // whole numbers that JSON readers agree on

std::optional<double> share(const JsonField& object, const char* key) {
  const auto value = object.maybe(key);
  return value ? std::optional(value->number(0, 1)) : std::nullopt;
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
  c.total = bits["total"].integer(0, kLarge);
  c.matched = bits["matched"].integer(0, c.total);
  c.log2_p = f["log2_p"].number(-1e9, 0);
  c.log2_tests = f["log2_tests"].number(0, 1e9);
  for (const JsonField& site : f["sites"].elements(kMostSites)) {
    const int64_t total = site["total"].integer(0, kLarge);
    c.sites.push_back({site["name"].text(), site["matched"].integer(0, total), total});
  }
  c.accuracy = read_accuracy(f["accuracy"]);
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

}  // namespace

AttackRecord read_attack(const std::string& path) {
  AttackRecord a{.file = text_of_path(path), .document = read_json(path)};
  const JsonField f(a.document, path);
  const std::string format = f["format"].text();
  if (format != "passnorm.attack/1")
    f["format"].refuse("passnorm.attack/1 was expected, not " + quote(format));
  a.name = f["attack"].text();
  a.description = f["description"].text();
  a.source = f["source"].text();
  a.axis = f["axis"].text();
  a.data = f["data"].text();
  for (const JsonField& before : f["chain"].elements(kMostNames)) a.chain.push_back(before.text());
  for (const auto& [name, value] : f["settings"].members(kMostNames))
    a.settings.emplace_back(name, value.text());
  a.seed = f["seed"].integer(0, INT64_MAX);
  a.limit_train = f["limit_train"].integer(0, kLarge);
  a.limit_test = f["limit_test"].integer(0, kLarge);
  const JsonField model = f["model"];
  a.architecture = model["architecture"].text();
  a.scheme = model["scheme"].text();
  a.norm = model["norm"].text();
  a.classes = model["classes"].integer(1, kLarge);
  a.sha256 = model["sha256"].text();
  for (const JsonField& site : model["sites"].elements(kMostSites))
    a.sites.emplace_back(site["name"].text(), site["bits"].integer(0, kLarge));
  for (const JsonField& point : f["points"].elements(kMostPoints))
    a.points.push_back(read_point(point));
  if (a.points.empty()) f["points"].refuse("there are none");
  return a;
}

EpochRecord read_epoch(const JsonField& f) {
  const auto number = [](const JsonField& object, const char* key) {
    const auto value = object.maybe(key);
    return value ? std::optional(value->number(-1e300, 1e300)) : std::nullopt;
  };
  EpochRecord e{.epoch = f["epoch"].integer(1, kLarge),
                .sign_loss = number(f, "sign_loss"),
                .bits = share(f, "bits"),
                .train = maybe_accuracy(f, "train_accuracy").value_or(BranchAccuracy{}),
                .test = maybe_accuracy(f, "test_accuracy").value_or(BranchAccuracy{}),
                .triggers = maybe_accuracy(f, "trigger_accuracy").value_or(BranchAccuracy{})};
  if (const auto loss = f.maybe("loss")) {
    e.loss_public = number(*loss, "public");
    e.loss_passport = number(*loss, "passport");
  }
  if (const auto sites = f.maybe("sites"))
    for (const auto& [name, value] : sites->members(kMostSites))
      e.sites.emplace_back(name, value.number(0, 1));
  return e;
}

}  // namespace passnorm::cli
