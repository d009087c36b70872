// passnorm attack: its documents, files and refusals.
#include "verify/attacks/attack.hpp"

#include "tests/cli/bad_input.hpp"
#include "tests/verify/carry.hpp"
#include "train/data/trigger_binding.hpp"

namespace passnorm::test {
namespace {

constexpr const char* kData = "synthetic:N=80";  // 20 test images

/// A run's folder: a network that carries its owner's bits, without having been trained.
struct Victim {
  TemporaryFolder folder;
  std::string path = folder.path("run"), passport = folder.path("run/owner.passport"),
              out = folder.path("out");

  explicit Victim(const char* scheme = "pan", kernels::NormKind norm = kernels::NormKind::kBatch) {
    std::filesystem::create_directory(path);
    const auto model = models::make(
        "tiny", {.norm = norm, .plan = PassportPlan::of(scheme), .seed = 3}, network_stream());
    unsettle(*model);
    Passport owner = Passport::random(model->sites(), secret(1), Signature::from_text("owner"));
    carry(*model, owner);
    models::save_released(*model, folder.path("run/model.safetensors"),
                          {{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}});
    models::take_lane_state(*model, owner);
    owner.save(passport);
  }

  Finished attack(const std::string& name, const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"attack", name,     path,  "--passport",
                                          passport, "--data", kData, "--threads",
                                          "1",      "--seed", "7"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return passnorm(arguments);
  }
  std::string file(const std::string& name) const {
    return std::string(text_of(read_file(out + "/" + name, 1 << 26)));
  }
};

std::string contents(const std::string& folder) {
  std::string all;
  for (const char* name : {"/model.safetensors", "/owner.passport"})
    all += std::string(text_of(read_file(folder + name, 1 << 26)));
  return all;
}

TEST(AttackCommand, WritesOneDocument) {
  const Victim v;
  const std::string before = contents(v.path);
  const Finished f = v.attack("prune", {"--set", "rates=0.5,1", "--json", "--out", v.out});
  ASSERT_EQ(f.code, 0) << f.err;
  const Json json = f.json();
  EXPECT_EQ(keys(json), (std::vector<std::string>{"format",
                                                  "attack",
                                                  "description",
                                                  "source",
                                                  "settings",
                                                  "seed",
                                                  "batch",
                                                  "chain",
                                                  "links",
                                                  "model",
                                                  "passport_sha256",
                                                  "data",
                                                  "other_data",
                                                  "triggers",
                                                  "triggers_sha256",
                                                  "limit_train",
                                                  "limit_test",
                                                  "test_images",
                                                  "other_test_images",
                                                  "trigger_images",
                                                  "axis",
                                                  "points"}));
  EXPECT_EQ(json.at("format"), "passnorm.attack/1");
  EXPECT_EQ(json.at("settings"),
            (Json{{"rates", "0.5,1"}, {"target", "released"}, {"variant", "all"}}));
  EXPECT_EQ(json.at("chain"), Json::array());
  EXPECT_EQ(json.at("links"),
            Json::array({{{"attack", "prune"}, {"settings", json.at("settings")}}}));
  for (const char* none : {"other_data", "triggers", "triggers_sha256"})
    EXPECT_TRUE(json.at(none).is_null()) << none;
  EXPECT_EQ(json.at("batch"), 64);
  EXPECT_EQ(json.at("seed"), 7);
  EXPECT_EQ(json.at("data"), kData);
  EXPECT_EQ(json.at("test_images"), 20);
  EXPECT_EQ(json.at("other_test_images"), 0);
  EXPECT_EQ(json.at("trigger_images"), 0);
  EXPECT_EQ(
      json.at("model").at("sites"),
      (Json::array({{{"name", "conv3"}, {"bits", 128}}, {{"name", "conv4"}, {"bits", 128}}})));
  EXPECT_EQ(json.at("model").at("sha256"),
            to_hex(sha256(read_file(v.path + "/model.safetensors", 1 << 26))));
  EXPECT_EQ(json.at("passport_sha256"), to_hex(sha256(read_file(v.passport, 1 << 26))));
  const Json& points = json.at("points");
  ASSERT_EQ(points.size(), 3u);
  EXPECT_EQ(keys(points[0]),
            (std::vector<std::string>{"x", "owner", "forger", "triggers", "metrics"}));
  // The first point is what the judge says of the network; the last has nothing left.
  Json claim = passnorm({"verify", v.path, "--passport", v.passport, "--data", kData, "--null", "0",
                         "--threads", "1", "--json"})
                   .json();
  claim.erase("examined");  // the document says that of all its points
  EXPECT_EQ(points[0].at("owner"), claim);
  EXPECT_EQ(points[0].at("owner").at("verdict"), "supported");
  EXPECT_EQ(points[2].at("owner").at("bits").at("matched"), 0);
  EXPECT_TRUE(points[0].at("forger").is_null());
  EXPECT_TRUE(points[0].at("triggers").is_null());

  // The same in the folder, times apart; the attacked network can be looked at like any other.
  EXPECT_EQ(parse_json("file", v.file("attack-prune.json")), json);
  EXPECT_EQ(keys(parse_json("times", v.file("times.json"))), (std::vector<std::string>{"prune"}));
  const Finished verdict = passnorm({"verify", v.out + "/attack-prune.safetensors", "--passport",
                                     v.passport, "--null", "0", "--json"});
  EXPECT_EQ(verdict.code, 1);
  EXPECT_EQ(verdict.json().at("bits").at("matched"), 0);
  EXPECT_EQ(contents(v.path), before);
}

TEST(AttackCommand, TheSameSeedGivesTheSameBytes) {
  const Victim v;
  const std::vector<std::string> settings = {"--set", "count=50", "--set", "sample=1", "--out"};
  const auto run = [&](const std::string& name, const char* seed) {
    std::vector<std::string> more = settings;
    more.push_back(v.folder.path(name));
    std::vector<std::string> arguments = {"attack", "fake1", v.path,   "--passport", v.passport,
                                          "--data", kData,   "--seed", seed};
    arguments.insert(arguments.end(), more.begin(), more.end());
    EXPECT_EQ(passnorm(arguments).code, 0);
    return std::string(text_of(read_file(v.folder.path(name + "/attack-fake1.json"), 1 << 24)));
  };
  const std::string first = run("a", "1");
  EXPECT_EQ(first, run("b", "1"));
  EXPECT_NE(first, run("c", "2"));
}

/// From attacks that train, to the page that shows them.
TEST(AttackCommand, TheSameSeedGivesTheSameReport) {
  const Victim v;
  const std::string reports = v.folder.path("reports");
  const auto made = [&] {
    std::filesystem::remove_all(v.out);
    std::filesystem::remove_all(reports);
    std::filesystem::create_directory(reports);
    const std::string page = reports + "/page.html", json = reports + "/page.json";
    std::vector<std::string> settings = {"--batch", "20", "--out", v.out, "--set", "epochs=1"};
    EXPECT_EQ(v.attack("fine-tune", settings).code, 0);
    settings.insert(settings.end(), {"--set", "flips=0.3"});
    EXPECT_EQ(v.attack("fake3", settings).code, 0);
    const Finished f = passnorm({"report", v.path, v.out, "--out", page, "--json", json});
    EXPECT_EQ(f.code, 0) << f.err;
    EXPECT_CONTAINS(f.out, "2 results of attacks");
    return std::pair(std::string(text_of(read_file(page, 1 << 26))),
                     std::string(text_of(read_file(json, 1 << 26))));
  };
  const auto first = made(), second = made();
  EXPECT_TRUE(first.first == second.first);  // long: not to be shown
  EXPECT_TRUE(first.second == second.second);
}

TEST(AttackCommand, SpeaksInATable) {
  const Victim v;
  const Finished f = v.attack("gauge", {"--set", "shares=1"});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_CONTAINS(f.out, "gauge: ");
  EXPECT_CONTAINS(f.out, "256/256");
  EXPECT_CONTAINS(f.out, "supported");
  EXPECT_CONTAINS(f.out, "not supported");
  EXPECT_CONTAINS(f.out, "forged bits");
  EXPECT_CONTAINS(f.out, "x: share of channels rewritten; accuracy on 20 test images\n");
  EXPECT_CONTAINS(f.out, "change of logits");
  EXPECT_EQ(f.out.find(" \n"), std::string::npos) << f.out;
  EXPECT_EQ(f.out.find("-0.0 "), std::string::npos) << f.out;
}

TEST(AttackCommand, SaysWhatAccuracyRestsOn) {
  const Victim v;
  const std::string triggers = v.folder.path("t");
  train::generate_triggers(triggers, {secret(1), ""}, {.count = 3});
  const auto flip = [&](const char* json) {
    std::vector<std::string> more = {"--set",  "shares=1",     "--triggers",
                                     triggers, "--other-data", "synthetic:N=40"};
    if (*json) more.emplace_back(json);
    return v.attack("flip", more);
  };
  const Json json = flip("--json").json();
  EXPECT_EQ(json.at("test_images"), 20);
  EXPECT_EQ(json.at("other_test_images"), 10);
  EXPECT_EQ(json.at("trigger_images"), 3);
  // Which they were: as given, and the list of a folder's files by its hash.
  EXPECT_EQ(json.at("other_data"), "synthetic:N=40");
  EXPECT_EQ(json.at("triggers"), triggers);
  EXPECT_EQ(json.at("triggers_sha256"),
            to_hex(sha256(read_file(triggers + "/manifest.json", 1 << 20))));
  EXPECT_CONTAINS(flip("").out, "; accuracy on 20 test images, 10 of the other task, 3 triggers\n");
}

TEST(AttackCommand, AttacksFollowOneAnother) {
  const Victim v("deepipr-v2");
  const Finished f =
      v.attack("prune", {"--set", "rates=0.5", "--then", "quantise:formats=bf16,4", "--then",
                         "flip:shares=0,0.5,detection=weights", "--json", "--out", v.out});
  ASSERT_EQ(f.code, 0) << f.err;
  const Json documents = f.json().at("attacks");
  ASSERT_EQ(documents.size(), 3u);
  EXPECT_EQ(documents[2].at("chain"), (Json{"prune", "quantise"}));
  EXPECT_EQ(documents[2].at("settings").at("shares"), "0,0.5");
  // What each was told, also those before.
  const Json& links = documents[2].at("links");
  ASSERT_EQ(links.size(), 3u);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(links[i], (Json{{"attack", documents[i].at("attack")},
                              {"settings", documents[i].at("settings")}}));
  EXPECT_EQ(links[0].at("settings").at("rates"), "0.5");
  EXPECT_EQ(links[1].at("settings").at("formats"), "bf16,4");
  for (size_t i = 1; i < 3; ++i)  // each begins where the one before ended
    EXPECT_EQ(documents[i].at("points")[0].at("owner"),
              documents[i - 1].at("points").back().at("owner"));
  for (const char* file : {"attack-prune.json", "attack-prune+quantise.json",
                           "attack-prune+quantise+flip.json", "attack-prune+quantise.safetensors"})
    EXPECT_TRUE(std::filesystem::exists(v.out + "/" + file)) << file;
  EXPECT_EQ(keys(parse_json("times", v.file("times.json"))),
            (std::vector<std::string>{"prune", "prune+quantise", "prune+quantise+flip"}));
  // A later run adds its time.
  EXPECT_EQ(v.attack("flip", {"--set", "shares=1", "--out", v.out}).code, 0);
  EXPECT_EQ(parse_json("times", v.file("times.json")).size(), 4u);
}

TEST(AttackCommand, ResultsStayUnlessAsked) {
  const Victim v;
  const auto prune = [&](const char* rates, const char* more = "--json") {
    return v.attack("prune", {"--set", concat("rates=", rates), "--out", v.out, more});
  };
  ASSERT_EQ(prune("0.5").code, 0);
  const std::string first = v.file("attack-prune.json");
  const Finished again = prune("0");
  EXPECT_TRUE(fails_with(2, again));
  EXPECT_CONTAINS(again.err, "already holds attack-prune.json");
  EXPECT_CONTAINS(again.err, "--overwrite");
  EXPECT_EQ(v.file("attack-prune.json"), first);
  // Nothing of the old results stands beside the new ones: at rate 0 no network is left.
  ASSERT_EQ(prune("0", "--overwrite").code, 0);
  EXPECT_EQ(parse_json("new", v.file("attack-prune.json")).at("settings").at("rates"), "0");
  EXPECT_FALSE(std::filesystem::exists(v.out + "/attack-prune.safetensors"));
  EXPECT_EQ(keys(parse_json("times", v.file("times.json"))), (std::vector<std::string>{"prune"}));
}

TEST(AttackCommand, AThiefOfDeepIprV1HasAnAffineOfHisOwn) {
  const Victim v("deepipr-v1");
  const Finished f = v.attack("quantise", {"--set", "formats=bf16", "--json", "--out", v.out});
  ASSERT_EQ(f.code, 0) << f.err;
  const Json points = f.json().at("points");
  EXPECT_TRUE(points[0].at("owner").at("accuracy").at("public").is_null());
  EXPECT_EQ(points[0].at("metrics").at("stolen accuracy"),
            points[0].at("owner").at("accuracy").at("passport"));
  // What he has is an ordinary network: no passport is needed to use it.
  const Finished eval = passnorm({"eval", v.out + "/attack-quantise.safetensors", "--data", kData,
                                  "--threads", "1", "--json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_EQ(eval.json().at("accuracy").at("public"), points[1].at("metrics").at("stolen accuracy"));
}

TEST(AttackCommand, NamesWhatThereIs) {
  const Finished words = passnorm({"attack", "--list"});
  const Finished json = passnorm({"attack", "--list", "--json"});
  ASSERT_EQ(words.code, 0) << words.err;
  const Json list = json.json().at("attacks");
  ASSERT_EQ(list.size(), verify::attacks().size());
  for (size_t i = 0; i < list.size(); ++i) {
    const verify::Attack& a = verify::attacks()[i];
    EXPECT_EQ(list[i].at("name"), a.name);
    EXPECT_EQ(list[i].at("settings").size(), a.settings.size());
    EXPECT_CONTAINS(words.out, concat(a.name, ": "));
    for (const verify::AttackSetting& s : a.settings)
      EXPECT_CONTAINS(words.out, concat("  ", s.name, "=", s.value));
  }
  std::istringstream lines(words.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
}

TEST(AttackCommand, AllLeavesOutWhatCannotApply) {
  const Victim v("pan", kernels::NormKind::kGroup);
  const std::string before = contents(v.path);
  // A setting goes to every attack that has it; what is said to one comes first.
  const Finished f =
      v.attack("all", {"--json", "--out", v.out, "--batch", "20", "--set", "erb.epochs=2", "--set",
                       "epochs=1", "--set", "count=20", "--set", "fake1.sample=1"});
  ASSERT_EQ(f.code, 0) << f.err;
  const Json json = f.json();
  EXPECT_EQ(json.at("attacks").size() + json.at("left_out").size(), verify::attacks().size());
  const auto left_out = [&](std::string_view name) {
    return std::ranges::any_of(json.at("left_out"),
                               [&](const Json& j) { return j.at("attack") == name; });
  };
  EXPECT_TRUE(left_out("gauge"));
  EXPECT_FALSE(left_out("prune"));
  EXPECT_CONTAINS(f.err, "note: gauge left out: ");
  for (const Json& document : json.at("attacks")) {
    const std::string name = document.at("attack");
    EXPECT_EQ(parse_json(name, v.file("attack-" + name + ".json")), document);
    EXPECT_EQ(document.at("chain"), Json::array());
    EXPECT_EQ(document.at("links").size(), 1u);
    EXPECT_EQ(document.at("batch"), 20);
    const Json& settings = document.at("settings");
    for (const auto& [key, value] :
         {std::pair{"epochs", name == "erb" ? "2" : "1"}, {"count", "20"}, {"sample", "1"}}) {
      if (settings.contains(key)) {
        EXPECT_EQ(settings.at(key), value) << name;
      }
    }
  }
  EXPECT_EQ(contents(v.path), before);
}

class AttackBadInput : public BadInput {};

TEST_F(AttackBadInput, IsRefusedInOneLine) {
  const std::string passport = path("owner.passport"), model = path("model.safetensors");
  const auto call = [&](const std::vector<std::string>& more, const std::string& name = "prune") {
    std::vector<std::string> out = {"attack", name,     model,          "--passport",
                                    passport, "--data", "synthetic:N=8"};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  };
  const std::string text = put("text", "no passport");
  const std::string alexnet = path("alexnet.passport");
  {
    const auto other = models::make("alexnet", {.plan = PassportPlan::of("pan", "last")});
    Passport p = Passport::random(other->sites(), secret(1), Signature::from_text("A"));
    models::take_lane_state(*other, p);
    p.save(alexnet);
  }
  put("results/times.json", "[1]");
  put("one/attack-prune.json", "{}");
  put("chain/attack-prune+flip.safetensors", "");
  put("last/attack-erb.json", "{}");
  expect_refused({
      {"nothing", {"attack"}, 2, "attack needs NAME"},
      {"no name", {"attack", model}, 2, "unknown attack"},
      {"no folder", {"attack", "prune"}, 2, "attack needs DIR|FILE"},
      {"no passport", {"attack", "prune", model, "--data", "synthetic"}, 2, "needs --passport"},
      {"no data", {"attack", "prune", model, "--passport", passport}, 2, "needs --data"},
      {"unknown", call({}, "pruen"), 2, "did you mean prune?"},
      {"unknown setting", call({"--set", "rate=0.5"}), 2, "did you mean rates?"},
      {"no value", call({"--set", "rates"}), 2, "name=value was expected"},
      {"twice", call({"--set", "rates=1", "--set", "rates=0"}), 2, "given more than once"},
      {"bad value", call({"--set", "rates=1.5"}), 2, "setting rates: numbers from 0 to 1"},
      {"bad choice", call({"--set", "target=mine"}), 2, "released | owner"},
      {"another's setting", call({"--set", "prunee.rates=1"}), 2, "unknown attack"},
      {"another attack's setting", call({"--set", "flip.shares=1"}), 2, "--then flip:shares=1"},
      // Before the first attack begins, however late the one comes that is meant.
      {"all, none's setting", call({"--set", "rate=1"}, "all"), 2,
       "no attack has the setting \"rate\"; did you mean rates?"},
      {"all, not its setting", call({"--set", "erb.rates=1"}, "all"), 2,
       "erb: unknown setting \"rates\""},
      {"all, bad value", call({"--set", "erb.hidden=0"}, "all"), 2,
       "erb: setting hidden: an integer from 1 to 1000 was expected"},
      {"all, bad value for some", call({"--set", "epochs=many"}, "all"), 2,
       "fine-tune: setting epochs: an integer"},
      {"all, bad choice", call({"--set", "ambiguity-2.best=maybe"}, "all"), 2, "yes | no"},
      {"all, twice", call({"--set", "epochs=1", "--set", "epochs=2"}, "all"), 2,
       "given more than once"},
      {"all, twice for one", call({"--set", "erb.epochs=1", "--set", "erb.epochs=2"}, "all"), 2,
       "given more than once"},
      {"all, no other data", call({"--set", "fine-tune.task=other"}, "all"), 2,
       "fine-tune: setting task: other needs --other-data"},
      {"no other data", call({"--then", "fine-tune:task=other"}), 2, "needs --other-data"},
      {"bad format", call({"--set", "formats=8,7"}, "quantise"), 2,
       "quantise: setting formats: some of bf16 | f16 | 8"},
      {"results are there", call({"--out", path("one")}), 2, "already holds attack-prune.json"},
      {"a link's are there", call({"--then", "flip", "--out", path("chain")}), 2,
       "already holds attack-prune+flip.safetensors"},
      {"all's last are there", call({"--out", path("last")}, "all"), 2,
       "already holds attack-erb.json"},
      {"all and then", call({"--then", "prune"}, "all"), 2, "--then"},
      {"then unknown", call({"--then", "prun"}), 2, "did you mean prune?"},
      {"then no value", call({"--then", "prune:rates"}), 2, "name=value was expected"},
      {"then bad name", call({"--then", "prune:rate=1"}), 2, "did you mean rates?"},
      {"bad data", call({"--other-data", "cifar"}), 2, "cifar"},
      {"no trigger folder", call({"--triggers", path("none")}), 3, "none"},
      {"no model",
       {"attack", "prune", path("none"), "--passport", passport, "--data", "synthetic"},
       3,
       "none"},
      {"no passport file",
       {"attack", "prune", model, "--passport", text, "--data", "synthetic:N=8"},
       3,
       "text"},
      {"another network's passport",
       {"attack", "prune", model, "--passport", alexnet, "--data", "synthetic:N=8"},
       3,
       "does not fit"},
      {"sealed, no phrase",
       {"attack", "prune", model, "--passport", path("sealed.passport"), "--passphrase-file", text,
        "--data", "synthetic:N=8"},
       7,
       "sealed.passport"},
      {"results are a file", call({"--out", text}), 3, "folder"},
      {"times are no object", call({"--out", path("results")}), 3, "times.json"},
      {"seed", call({"--seed", "-1"}), 2, "--seed"},
      {"stray", call({"stray"}), 2, "unexpected argument"},
  });
}

}  // namespace
}  // namespace passnorm::test
