// passnorm verify --black-box.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/examined.hpp"
#include "cli/verify_options.hpp"
#include "engine/io/file.hpp"
#include "engine/io/text.hpp"
#include "train/data/cross_domain.hpp"
#include "train/data/decoys.hpp"
#include "train/data/predictions.hpp"
#include "train/data/trigger_binding.hpp"
#include "verify/black_box.hpp"

namespace passnorm::cli {
namespace {

constexpr uint64_t kMaxTable = uint64_t{64} << 20;

/// The triggers and the suspect's answers.
struct Answers {
  std::vector<int32_t> labels;
  std::optional<train::TriggerBinding> bound;  ///< what the manifest says
  int64_t classes = 0;                         ///< of the suspect
  std::vector<int32_t> triggers, decoys;
  std::string decoy_kind;                       ///< "drawn pictures"; empty: there are none
  std::optional<uint64_t> decoy_seed;           ///< that they follow from
  std::optional<train::Evaluation> evaluation;  ///< with --data
  const char* noun = "images";                  ///< of what it was measured on
  Json examined;                                ///< the claim's: what was asked about what
};

void check_options(const VerifyOptions& o) {
  const auto refuse = [&](std::initializer_list<const char*> names, const char* why) {
    for (const char* name : names)
      if (o.given(name)) fail(Fault::kUsage, name, " ", why);
  };
  if (o.triggers.empty())
    fail(Fault::kUsage,
         "verify --black-box needs --triggers DIR (passnorm verify --help tells more)");
  if (o.predictions.empty() == o.model.path.empty())
    fail(Fault::kUsage, "verify --black-box needs either a model or --predictions FILE");
  refuse({"--null", "--null-images"}, "is of passports; with --black-box there is --decoys");
  if (o.predictions.empty())
    refuse({"--decoy-predictions", "--classes"}, "goes with --predictions, not with a model");
  else
    refuse({"--decoys", "--data", "--limit-test", "--passport"},
           "needs the model, not --predictions");
  if (!o.predictions.empty() && train::parse_cross_domain(o.triggers))
    fail(Fault::kUsage, "--predictions has the answers on the files of a folder; --triggers ",
         quote(o.triggers), " is of a data set");
}

/// What trigger sets have to be like: the test set where there is one, else what the model takes.
/// How many points a cloud has no model tells: then all that a trigger has.
train::Dataset example_of(const models::LoadedModel& loaded, const train::Dataset* test) {
  const Shape in = loaded.model->input();
  const bool clouds = loaded.model->architecture().of_points();
  train::Dataset like{.channels = in[2],
                      .h = in[0],
                      .w = test     ? test->w
                           : clouds ? 0
                                    : in[1],
                      .classes = loaded.model->options().classes};
  if (test) like.class_names = test->class_names;
  train::normalise_as(like, loaded.normalisation);
  return like;
}

Answers answers_of_model(const VerifyOptions& o) {
  const Examined opened = Examined::open(o.model, o.machine, Examined::As::kReleased);
  Model& model = *opened.loaded.model;
  const bool of_a_set = train::parse_cross_domain(o.triggers).has_value();
  std::optional<train::Dataset> test;
  if (!o.data.empty())
    test = test_set(o.data, o.limit_test, model, opened.loaded.normalisation);
  else if (of_a_set)
    fail(Fault::kUsage,
         "--triggers of a data set were those of classes that the network's data "
         "have not: name these with --data");
  train::Dataset like = example_of(opened.loaded, test ? &*test : nullptr);
  std::optional<OpenPassport> passport;
  if (opened.passport) passport = model.open(*opened.passport);
  const OpenPassport* open = passport ? &*passport : nullptr;

  const train::Dataset set = train::trigger_set(o.triggers, like);
  Answers a{.labels = set.labels,
            .bound = {},
            .classes = like.classes,
            .triggers = verify::predict(model, open, set),
            .noun = set.noun()};
  std::optional<Hash256> list;
  if (!of_a_set) {
    const train::TriggerManifest manifest = train::read_triggers(o.triggers, like.classes);
    a.bound = manifest.bound;
    list = triggers_hash(manifest);
  }
  a.examined = examined_json(&opened, {{"triggers", list}});
  if (o.decoys > 0) {
    like.w = set.w;
    const train::Decoys decoys =
        train::decoys_of(o.triggers, a.bound, like, o.decoys, o.examine.seed);
    if (decoys.set.n > 0) {
      a.decoys = verify::predict(model, open, decoys.set);
      a.decoy_kind = decoys.kind;
      a.decoy_seed = decoys.seed;
    }
  }
  if (test) a.evaluation = train::evaluate(model, open, *test);
  return a;
}

Answers answers_of_tables(const VerifyOptions& o) {
  const train::TriggerManifest list = train::read_triggers(o.triggers, o.classes);
  Answers a{.labels = {},
            .bound = list.bound,
            .classes = o.classes > 0 ? o.classes : list.bound->classes};
  const auto table = [&](const std::string& path, std::span<const std::string> files,
                         std::optional<Hash256>& hash) {
    const std::vector<std::byte> bytes = read_file(path, kMaxTable);
    hash = sha256(bytes);
    return train::parse_predictions(printable(path, 200), text_of(bytes), files, a.classes);
  };
  std::optional<Hash256> predictions, decoys;
  std::vector<std::string> files;
  for (const train::Trigger& t : list.images) {
    files.push_back(t.file);
    a.labels.push_back(t.label);
  }
  a.triggers = table(o.predictions, files, predictions);
  if (!o.decoy_predictions.empty()) {
    a.decoys = table(o.decoy_predictions, {}, decoys);
    a.decoy_kind = "answers of " + printable(o.decoy_predictions, 200);
  }
  a.examined = examined_json(nullptr, {{"predictions", predictions},
                                       {"decoy_predictions", decoys},
                                       {"triggers", triggers_hash(list)}});
  return a;
}

/// Whether the labels are bound, and why not.
struct Binding {
  std::string signature, why_not;
};

Binding binding_of(const VerifyOptions& o, const Answers& a,
                   const std::optional<train::TriggerOwner>& owner) {
  if (!owner)
    return {{},
            a.bound ? "the owner's file was not shown (--owner-file)"
                    : "whoever made the list could choose its labels"};
  std::string why = train::why_unbound(o.triggers, a.classes, *owner);
  if (why.empty() && owner->signature.empty()) why = "the owner's file names nobody";
  return {owner->signature, std::move(why)};
}

Json json_of(const verify::BlackBoxClaim& c, const Answers& a, const Binding& b) {
  return {{"verdict", verify::name_of(c.verdict)},
          {"bound", c.bound_classes > 0},
          {"why_not_bound", b.why_not.empty() ? Json(nullptr) : Json(printable(b.why_not, 400))},
          {"signature", b.signature},
          {"triggers", {{"matched", c.matched}, {"total", c.total}, {"classes", c.classes}}},
          {"log2_p", c.log2_p()},
          {"log2_p_labels", c.log2_p_labels ? Json(*c.log2_p_labels) : Json(nullptr)},
          {"log2_p_prior", c.log2_p_prior},
          {"tests", c.tests},
          {"log2_tests", c.log2_tests},
          {"threshold_log2", verify::kLog2Threshold},
          {"decidable", c.decidable},
          {"prior", c.prior},
          {"answers", {{"triggers", c.answers}, {"decoys", c.decoys}}},
          {"decoys",
           {{"count", a.decoys.size()},
            {"kind", a.decoys.empty() ? Json(nullptr) : Json(a.decoy_kind)},
            {"seed", a.decoy_seed ? Json(*a.decoy_seed) : Json(nullptr)}}},
          {"accuracy", accuracy_json(a.evaluation)},
          {"examined", a.examined}};
}

std::string text_of(const verify::BlackBoxClaim& c, const Answers& a, const Binding& b) {
  std::string out = fmt::format("verdict     {}\n", verify::name_of(c.verdict));
  out +=
      fmt::format("triggers    {} of {} have the answer that the list says\n", c.matched, c.total);
  const double corrected = c.log2_p() + c.log2_tests;
  out += fmt::format(
      "chance      log2 p = {:.1f} {}\n            with {:.1f} bits for claims tried {:.1f}, {} "
      "(limit {:.0f})\n",
      c.log2_p(),
      c.log2_p_labels
          ? fmt::format("for labels drawn among {} classes, whatever the network answers",
                        c.bound_classes)
          : "for a network that knows none of them, by the prior below",
      c.log2_tests, corrected,
      corrected <= verify::kLog2Threshold ? "beyond chance" : "within chance",
      verify::kLog2Threshold);
  if (!c.decidable)
    out += "            no number of matches could reach the limit: the set is too small\n";
  const auto most = std::ranges::max_element(c.prior);
  out += fmt::format(
      "prior       log2 p = {:.1f} for a network that answers class by class as this one does on "
      "{}\n            it answers class {} most, {} of the time\n",
      c.log2_p_prior,
      a.decoys.empty() ? "the other triggers"
                       : fmt::format("{} decoys and the other triggers", a.decoys.size()),
      most - c.prior.begin(), percent(*most));
  if (!a.decoys.empty())
    out += fmt::format("decoys      {} {}{}\n", a.decoys.size(), a.decoy_kind,
                       a.decoy_seed ? fmt::format(", by seed {}", *a.decoy_seed) : "");
  out += fmt::format("signature   {}\n", b.signature.empty() ? "(no text)" : quote(b.signature));
  out +=
      fmt::format("bound       {}\n",
                  c.bound_classes > 0
                      ? "yes: the labels follow from all triggers, the owner's secret and the text"
                      : "no: " + printable(b.why_not, 400));
  if (a.evaluation)
    out += fmt::format("accuracy    public {}, passport {} on {} {}\n",
                       percent(a.evaluation->public_accuracy),
                       percent(a.evaluation->passport_accuracy), a.evaluation->images, a.noun);
  return out;
}

}  // namespace

int verify_black_box(const VerifyOptions& o) {
  check_options(o);
  std::optional<train::TriggerOwner> owner;
  if (!o.owner_file.empty())
    owner = train::TriggerOwner::load(o.owner_file, o.model.passphrase.asker());
  Answers a = o.predictions.empty() ? answers_of_model(o) : answers_of_tables(o);
  a.examined["triggers"] = o.triggers;
  a.examined["data"] = data_json(o.data, o.limit_test);
  if (a.classes < 2) fail(Fault::kUsage, "the answers of a network with one class tell nothing");
  const Binding b = binding_of(o, a, owner);
  const verify::BlackBoxClaim claim =
      verify::examine_black_box({.answers = a.triggers,
                                 .labels = a.labels,
                                 .classes = a.classes,
                                 .bound_classes = b.why_not.empty() ? a.bound->classes : 0,
                                 .decoys = a.decoys,
                                 .tests = o.examine.tests});
  if (o.json)
    print_json(json_of(claim, a, b));
  else
    fmt::print("{}", text_of(claim, a, b));
  return exit_code(claim.verdict);
}

}  // namespace passnorm::cli
