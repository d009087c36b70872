#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>

#include "cli/attack_result.hpp"
#include "cli/examined.hpp"
#include "cli/options.hpp"
#include "cli/progress.hpp"
#include "engine/io/file.hpp"
#include "engine/io/text.hpp"
#include "train/data/cross_domain.hpp"
#include "train/data/trigger_set.hpp"

namespace passnorm::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string attack;
  ModelArgument model;
  Machine machine;
  std::string data, other_data, triggers, out;
  std::vector<std::string> set, then;
  int64_t limit_train = 0, limit_test = 0, batch = 64;
  uint64_t seed = 1;
  bool list = false, overwrite = false, json = false;
};

/// All that is asked for. What is wrong in it ends the command before any attack begins.
std::vector<AttackStep> steps_of(const Options& o) {
  std::vector<AttackStep> steps = attack_steps(o.attack, o.set, o.then);
  for (const AttackStep& step : steps)
    if (const auto it = step.settings.all().find("task");
        o.other_data.empty() && it != step.settings.all().end() && it->second == "other")
      fail(Fault::kUsage, step.attack->name, ": setting task: other needs --other-data SPEC");
  return steps;
}

/// The links behind which the document of step i stands: with all none but itself.
std::span<const AttackStep> links(const std::vector<AttackStep>& steps, size_t i, bool all) {
  return all ? std::span(steps).subspan(i, 1) : std::span(steps).first(i + 1);
}

/// The folder of results. Times stand in a file of their own: all others are the same bytes for the
/// same seed.
class Results {
 public:
  /// names: of the documents to come. Error(kUsage) for one that is there already, unless
  /// `overwrite`.
  Results(const std::string& folder, std::vector<std::string> names, bool overwrite)
      : folder_(folder), names_(std::move(names)) {
    if (folder.empty()) return;
    std::error_code error;
    fs::create_directories(folder, error);
    if (error || !fs::is_directory(folder, error))
      fail(Fault::kInput, printable(folder), ": is no folder that results can be written to");
    for (const std::string& name : names_)
      for (const std::string& file : files(name))
        if (!overwrite && fs::exists(path(file), error))
          fail(Fault::kUsage, "--out ", printable(folder), " already holds ", file,
               "; choose another folder, or replace it with --overwrite");
    if (fs::exists(path("times.json"), error)) times_ = read_json(path("times.json"));
    if (!times_.is_object())
      fail(Fault::kInput, path("times.json"), ": an object was expected; remove it");
  }

  /// Removes what is to be replaced: an attack that is left out now leaves nothing of an old one.
  void start() {
    if (folder_.empty()) return;
    std::error_code error;  // what is still there is replaced when it is written
    for (const std::string& name : names_) {
      for (const std::string& file : files(name)) fs::remove(path(file), error);
      times_.erase(name);
    }
  }

  void write(const std::string& name, const Json& document, const Model* stolen,
             const models::InputNormalisation& normalisation, double seconds) {
    if (folder_.empty()) return;
    const auto [json, network] = files(name);
    write_file_atomic(path(json), bytes_of(dump_json(json, document, 2) + "\n"));
    if (stolen) models::save_released(*stolen, path(network), normalisation);
    times_[name] = seconds;
    write_file_atomic(path("times.json"), bytes_of(dump_json("times", times_, 2) + "\n"));
  }

 private:
  /// The document, and the attacked network.
  static std::array<std::string, 2> files(const std::string& name) {
    return {"attack-" + name + ".json", "attack-" + name + ".safetensors"};
  }
  std::string path(const std::string& name) const { return (fs::path(folder_) / name).string(); }

  std::string folder_;
  std::vector<std::string> names_;
  Json times_ = Json::object();
};

struct Data {
  train::Dataset train, test;
  std::optional<train::Dataset> triggers, other_train, other_test;
  std::optional<Hash256> triggers_sha256;  ///< of triggers in a folder
};

Data load(const Options& o, const std::vector<AttackStep>& steps, const Model& model,
          const models::InputNormalisation& normalisation) {
  Data data;
  const auto part = [&](const std::string& spec, train::Split split) {
    const int64_t limit = split == train::Split::kTest ? o.limit_test : o.limit_train;
    train::Dataset set = train::load(train::parse_data_spec(spec), split, limit);
    train::normalise_as(set, normalisation);
    return set;
  };
  data.test = test_set(o.data, o.limit_test, model, normalisation);
  if (std::ranges::any_of(steps, [](const AttackStep& s) { return s.attack->trains; }))
    data.train = part(o.data, train::Split::kTrain);
  if (!o.triggers.empty()) {
    data.triggers = train::trigger_set(o.triggers, data.test);
    if (!train::parse_cross_domain(o.triggers))
      data.triggers_sha256 = triggers_hash(train::read_triggers(o.triggers, data.test.classes));
  }
  if (!o.other_data.empty()) {
    data.other_train = part(o.other_data, train::Split::kTrain);
    data.other_test = part(o.other_data, train::Split::kTest);
  }
  return data;
}

int run(const Options& o) {
  if (o.list) {
    o.json ? print_json(attacks_json()) : fmt::print("{}", attacks_text());
    return kYes;
  }
  if (o.attack.empty())
    fail(Fault::kUsage, "attack needs NAME: an attack, which passnorm attack --list names, or all");
  const std::vector<AttackStep> steps = steps_of(o);
  for (const auto& [name, value] :
       {std::pair{"DIR|FILE, the owner's run or model file", &o.model.path},
        {"--passport FILE, the owner's", &o.model.passport},
        {"--data SPEC, which accuracy is measured on", &o.data}})
    if (value->empty())
      fail(Fault::kUsage, "attack needs ", name, " (passnorm attack --help tells more)");
  const bool all = o.attack == "all", one = !all && steps.size() == 1;
  std::vector<std::string> names;
  for (size_t i = 0; i < steps.size(); ++i) names.push_back(chain_name(links(steps, i, all)));
  Results results(o.out, names, o.overwrite);
  const Examined opened = Examined::open(o.model, o.machine, Examined::As::kReleased);
  const models::InputNormalisation& normalisation = opened.loaded.normalisation;
  const Data data = load(o, steps, *opened.loaded.model, normalisation);
  results.start();

  ProgressLines lines;
  // What the last attack of a chain left: the thief's network, and the same before a judge.
  std::unique_ptr<Model> stolen, judged;
  Json documents = Json::array(), skipped = Json::array();
  for (size_t i = 0; i < steps.size(); ++i) {
    const AttackStep& step = steps[i];
    const std::string name(step.attack->name);
    const verify::AttackInput input{
        .model = judged ? *judged : *opened.loaded.model,
        .passport = *opened.passport,
        .stolen = stolen.get(),
        .train = step.attack->trains ? &data.train : nullptr,
        .test = &data.test,
        .triggers = data.triggers ? &*data.triggers : nullptr,
        .other_train = data.other_train ? &*data.other_train : nullptr,
        .other_test = data.other_test ? &*data.other_test : nullptr,
        .seed = o.seed,
        .batch = o.batch,
        .progress = [&](const std::string& text) { lines.show(name + ": " + text); }};
    const Clock::time_point start = Clock::now();
    verify::AttackResult result;
    try {
      result = step.attack->run(input, step.settings);
    } catch (const Error& e) {
      // An attack that this network or data does not suit (its settings have been checked), or that
      // has destroyed the network.
      if (!all || (e.fault() != Fault::kUsage && e.fault() != Fault::kNumerics)) throw;
      skipped.push_back({{"attack", name}, {"reason", e.what()}});
      fmt::print(stderr, "note: {} left out: {}\n", name, e.what());
      continue;
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const AttackCall call{.steps = links(steps, i, all),
                          .model = *opened.loaded.model,
                          .model_sha256 = to_hex(opened.model_sha256),
                          .passport_sha256 = to_hex(opened.passport_sha256.value()),
                          .data = o.data,
                          .other_data = o.other_data,
                          .triggers = o.triggers,
                          .triggers_sha256 = data.triggers_sha256,
                          .limit_train = o.limit_train,
                          .limit_test = o.limit_test,
                          .batch = o.batch,
                          .test_images = data.test.n,
                          .other_test_images = data.other_test ? data.other_test->n : 0,
                          .trigger_images = data.triggers ? data.triggers->n : 0,
                          .noun = data.test.noun(),
                          .seed = o.seed};
    documents.push_back(attack_json(call, result));
    results.write(names[i], documents.back(), result.stolen.get(), normalisation, seconds);
    if (!o.json) {
      fmt::print("{}{}", documents.size() == 1 ? "" : "\n", attack_text(call, result));
      std::fflush(stdout);
    }
    if (all || !result.stolen || i + 1 == steps.size()) continue;
    if (const int64_t classes = result.stolen->options().classes; classes != data.test.classes)
      fail(Fault::kUsage, name, " left a network of ", classes, " classes, the data have ",
           data.test.classes, ": no attack can follow it");
    judged = verify::before_judge(input, *result.stolen);
    stolen = std::move(result.stolen);
  }
  if (o.json)
    print_json(one ? documents.at(0)
                   : Json{{"attacks", std::move(documents)}, {"left_out", std::move(skipped)}});
  return kYes;
}

}  // namespace

void add_attack(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("attack", "What thieves and forgers can do to a network, measured");
  auto o = std::make_shared<Options>();
  command->add_option("attack", o->attack, "an attack, or all (--list names them)")
      ->type_name("NAME");
  o->model.add_to(*command, false);
  command->get_option("model")->required(false);
  const auto repeated = [&](const char* name, std::vector<std::string>& to, const char* type,
                            const char* help) {
    command->add_option(name, to, help)->type_name(type)->allow_extra_args(false);
  };
  OptionTable options(*command);
  options.call_flag("list", o->list, "the attacks, their sources and settings");
  options.text(
      "data", o->data,
      fmt::format("what the attacker trains on and accuracy is measured on: {}", kDataForms)
          .c_str(),
      "SPEC");
  options.text("other-data", o->other_data,
               "another task, for attacks that transfer to it: fine-tune with task=other", "SPEC");
  options.text("triggers", o->triggers, "the owner's triggers, as train takes them: measured too",
               "DIR|SPEC#N");
  repeated("--set", o->set, "KEY=VALUE",
           "a setting of the attack; with all, of every attack that has it, or ATTACK.KEY=VALUE of "
           "one; may be repeated");
  repeated("--then", o->then, "NAME[:KEY=VALUE,..]",
           "another attack on what the one before left; may be repeated");
  options.integer("limit-train", o->limit_train, "only the first N for training; 0 = all", 0,
                  kMany);
  options.integer("limit-test", o->limit_test, "only the first N for tests; 0 = all", 0, kMany);
  options.integer("batch", o->batch, "images or clouds in a training step", 1, 65536);
  options.integer("seed", o->seed, "of all that an attack draws", 0,
                  std::numeric_limits<int64_t>::max());
  options.text("out", o->out,
               "folder for attack-NAME.json, the attacked network attack-NAME.safetensors, and "
               "times.json",
               "DIR");
  options.call_flag("overwrite", o->overwrite, "replace results of these attacks in --out");
  options.call_flag("json", o->json, "one JSON document on stdout");
  o->machine.add_to(*command);
  command->footer(
      "The network and its passport are only read. Exit code: 0 when the attacks have run, "
      "whether they succeed or not.\n"
      "Examples:\n"
      "  passnorm attack prune runs/a --passport runs/a/owner.passport --data cifar10:data\n"
      "  passnorm attack all runs/a --passport runs/a/owner.passport --data cifar10:data "
      "--limit-train 2000 --out runs/a/attacks\n"
      "  passnorm attack prune runs/a --passport runs/a/owner.passport --data cifar10:data --set "
      "rates=0.5 --then quantise:formats=8,4");
  command->callback([o, &action] { action = [o] { return run(*o); }; });
}

}  // namespace passnorm::cli
