#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "cli/app.hpp"
#include "cli/attack_result.hpp"
#include "cli/options.hpp"
#include "engine/io/file.hpp"
#include "engine/io/text.hpp"
#include "train/data/trigger_set.hpp"

namespace passnorm::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Given = std::map<std::string, std::string>;

struct Options {
  std::string attack;
  ModelArgument model;
  Machine machine;
  std::string data, other_data, triggers, out;
  std::vector<std::string> set, then;
  int64_t limit_train = 0, limit_test = 0, batch = 64;
  uint64_t seed = 1;
  bool list = false, json = false;
};

/// One attack with its settings.
struct Step {
  const verify::Attack* attack;
  verify::AttackSettings settings;
};

/// NAME=VALUE
std::pair<std::string, std::string> assignment(const std::string& option, const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos)
    fail(Fault::kUsage, option, ": name=value was expected, not ", quote(text));
  return {text.substr(0, equals), text.substr(equals + 1)};
}

/// Of --set, those that are the attack's: name=value, or ATTACK.name=value.
Given settings_of(const Options& o, std::string_view attack) {
  Given out;
  for (const std::string& text : o.set) {
    auto [name, value] = assignment("--set", text);
    if (const size_t dot = name.find('.'); dot != std::string::npos) {
      if (verify::attack(name.substr(0, dot)).name != attack) continue;
      name = name.substr(dot + 1);
    } else if (o.attack == "all") {
      fail(Fault::kUsage, "--set ", quote(text), ": with all, say whose setting it is: ATTACK.",
           name, "=", value);
    }
    if (!out.emplace(name, value).second)
      fail(Fault::kUsage, "--set ", quote(text), ": given more than once");
  }
  return out;
}

/// NAME[:name=value,...]; a piece without = goes on with the value before it: rates=0,0.5.
Step chained(const std::string& text) {
  const size_t colon = text.find(':');
  const verify::Attack& attack = verify::attack(text.substr(0, colon));
  std::vector<std::string> pieces;
  for (size_t at = colon; at < text.size();) {
    const size_t end = std::min(text.find(',', at + 1), text.size());
    const std::string piece = text.substr(at + 1, end - at - 1);
    if (piece.find('=') == std::string::npos && !pieces.empty())
      pieces.back() += "," + piece;
    else
      pieces.push_back(piece);
    at = end;
  }
  Given given;
  for (const std::string& piece : pieces)
    if (!given.insert(assignment("--then", piece)).second)
      fail(Fault::kUsage, "--then ", quote(text), ": a setting is given more than once");
  return {&attack, verify::AttackSettings(attack.settings, given)};
}

std::vector<Step> steps_of(const Options& o) {
  std::vector<Step> steps;
  if (o.attack == "all") {
    if (!o.then.empty())
      fail(Fault::kUsage, "--then goes on from one attack; with all there is none");
    for (const std::string& text : o.set)  // of an attack that there is
      if (const auto name = assignment("--set", text).first; name.find('.') != std::string::npos)
        verify::attack(name.substr(0, name.find('.')));
    for (const verify::Attack& a : verify::attacks())
      steps.push_back({&a, verify::AttackSettings(a.settings, settings_of(o, a.name))});
    return steps;
  }
  const verify::Attack& first = verify::attack(o.attack);
  steps.push_back({&first, verify::AttackSettings(first.settings, settings_of(o, first.name))});
  for (const std::string& text : o.then) steps.push_back(chained(text));
  return steps;
}

/// A line on stderr every few seconds.
class Lines {
 public:
  void show(const std::string& text) {
    if (Clock::now() - last_ < std::chrono::seconds(5)) return;
    last_ = Clock::now();
    fmt::print(stderr, "{}\n", text);
    std::fflush(stderr);
  }

 private:
  Clock::time_point last_ = Clock::now();
};

/// The folder of results. Times stand in a file of their own: all others are the same bytes for the
/// same seed.
class Results {
 public:
  explicit Results(const std::string& folder) : folder_(folder) {
    if (folder.empty()) return;
    std::error_code error;
    fs::create_directories(folder, error);
    if (error || !fs::is_directory(folder, error))
      fail(Fault::kInput, printable(folder), ": is no folder that results can be written to");
    if (fs::exists(path("times.json"), error)) times_ = read_json(path("times.json"));
    if (!times_.is_object())
      fail(Fault::kInput, path("times.json"), ": an object was expected; remove it");
  }

  void write(const std::string& name, const Json& document, const Model* stolen,
             const models::InputNormalisation& normalisation, double seconds) {
    if (folder_.empty()) return;
    const std::string file = "attack-" + name;
    write_file_atomic(path(file + ".json"), bytes_of(dump_json(file, document, 2) + "\n"));
    if (stolen) models::save_released(*stolen, path(file + ".safetensors"), normalisation);
    times_[name] = seconds;
    write_file_atomic(path("times.json"), bytes_of(dump_json("times", times_, 2) + "\n"));
  }

 private:
  std::string path(const std::string& name) const { return (fs::path(folder_) / name).string(); }

  std::string folder_;
  Json times_ = Json::object();
};

struct Data {
  train::Dataset train, test;
  std::optional<train::Dataset> triggers, other_train, other_test;
};

Data load(const Options& o, const std::vector<Step>& steps, const Model& model,
          const models::InputNormalisation& normalisation) {
  Data data;
  const auto part = [&](const std::string& spec, train::Split split) {
    const int64_t limit = split == train::Split::kTest ? o.limit_test : o.limit_train;
    train::Dataset set = train::load(train::parse_data_spec(spec), split, limit);
    train::normalise_as(set, normalisation);
    return set;
  };
  data.test = test_set(o.data, o.limit_test, model, normalisation);
  if (std::ranges::any_of(steps, [](const Step& s) { return s.attack->trains; }))
    data.train = part(o.data, train::Split::kTrain);
  if (!o.triggers.empty()) data.triggers = train::trigger_set(o.triggers, data.test);
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
  const std::vector<Step> steps = steps_of(o);
  for (const auto& [name, value] :
       {std::pair{"DIR|FILE, the owner's run or model file", &o.model.path},
        {"--passport FILE, the owner's", &o.model.passport},
        {"--data SPEC, which accuracy is measured on", &o.data}})
    if (value->empty())
      fail(Fault::kUsage, "attack needs ", name, " (passnorm attack --help tells more)");
  const bool all = o.attack == "all", one = !all && steps.size() == 1;
  Results results(o.out);
  const auto opened = o.model.open(o.machine.stream());
  const models::InputNormalisation& normalisation = opened.loaded.normalisation;
  const Data data = load(o, steps, *opened.loaded.model, normalisation);
  const std::string sha256_of_model =
      to_hex(sha256(read_file(model_file(o.model.path), uint64_t{1} << 36)));

  Lines lines;
  // What the last attack of a chain left: the thief's network, and the same before a judge.
  std::unique_ptr<Model> stolen, judged;
  std::vector<std::string> chain;
  Json documents = Json::array(), skipped = Json::array();
  for (const Step& step : steps) {
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
      // An attack that this network or data does not suit, or that has destroyed the network.
      if (!all || (e.fault() != Fault::kUsage && e.fault() != Fault::kNumerics)) throw;
      skipped.push_back({{"attack", name}, {"reason", e.what()}});
      fmt::print(stderr, "note: {} left out: {}\n", name, e.what());
      continue;
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const AttackCall call{.attack = *step.attack,
                          .settings = step.settings,
                          .chain = chain,
                          .model = *opened.loaded.model,
                          .model_sha256 = sha256_of_model,
                          .data = o.data,
                          .limit_train = o.limit_train,
                          .limit_test = o.limit_test,
                          .test_images = data.test.n,
                          .other_test_images = data.other_test ? data.other_test->n : 0,
                          .trigger_images = data.triggers ? data.triggers->n : 0,
                          .noun = data.test.noun(),
                          .seed = o.seed};
    documents.push_back(attack_json(call, result));
    results.write(call.name(), documents.back(), result.stolen.get(), normalisation, seconds);
    if (!o.json) {
      fmt::print("{}{}", documents.size() == 1 ? "" : "\n", attack_text(call, result));
      std::fflush(stdout);
    }
    if (all) continue;
    chain.push_back(name);
    if (!result.stolen || &step == &steps.back()) continue;
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
           "a setting of the attack; with all, ATTACK.KEY=VALUE; may be repeated");
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
