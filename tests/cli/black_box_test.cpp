// Triggers from drawing to verdict through the program: data, train, verify --black-box.
#include <sys/stat.h>

#include "engine/io/crypto.hpp"
#include "models/model_file.hpp"
#include "tests/cli/bad_input.hpp"
#include "train/data/predictions.hpp"
#include "train/data/trigger_set.hpp"
#include "verify/black_box.hpp"

namespace passnorm::test {
namespace {

using Arguments = std::vector<std::string>;
using Keys = std::vector<std::string>;

Arguments triggers(const std::string& out, const Arguments& more = {}) {
  Arguments all = {"data", "triggers", "--out", out, "--count", "40"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

Arguments black_box(const std::string& set, const Arguments& more) {
  Arguments all = {"verify", "--black-box", "--triggers", set};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// Over in a second, and long enough to learn 40 triggers.
Finished train(const std::string& out, const std::string& scheme, const Settings& more) {
  return passnorm(with("train",
                       {{"--model", "tiny"},
                        {"--data", "synthetic:N=60"},
                        {"--scheme", scheme},
                        {"--signature", "(c) Alice"},
                        {"--epochs", "20"},
                        {"--batch", "20"},
                        {"--lr", "0.02"},
                        {"--nesterov", ""},
                        {"--schedule", "onecycle"},
                        {"--clip-norm", "2"},
                        {"--crop-pad", "0"},
                        {"--no-flip", ""},
                        {"--threads", "2"},
                        {"--seed", "1"},
                        {"--out", out}},
                       more));
}

/// Of a model, with fewer decoys.
Finished ask(const std::string& set, Arguments more) {
  more.insert(more.end(), {"--decoys", "10", "--threads", "2"});
  return passnorm(black_box(set, more));
}

std::string text_at(const std::string& path) {
  return std::string(text_of(read_file(path, 1 << 24)));
}

TEST(DataTriggers, DrawsThemAndKeepsTheSecretApart) {
  const TemporaryFolder folder;
  const std::string a = folder.path("a"), owner = folder.path("a.owner");
  const Finished drawn =
      passnorm(triggers(a, {"--seed", "7", "--signature", "(c) Alice", "--json"}));
  ASSERT_EQ(drawn.code, 0) << drawn.err;
  EXPECT_EQ(drawn.err, "note: the secret follows from --seed 7: repeatable, and guessable\n");
  const Json json = drawn.json();
  EXPECT_EQ(keys(json), (Keys{"triggers", "count", "bound", "classes", "generated_side",
                              "generated_points", "owner_file", "commitment", "log2_p_least"}));
  EXPECT_EQ(json["owner_file"], owner);
  EXPECT_EQ(json["count"], 40);
  EXPECT_EQ(folder.names(), (Keys{"a", "a.owner"}));
  struct stat s {};
  ASSERT_EQ(::stat(owner.c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777u, 0600u);
  const Json manifest = parse_json("m", text_at(a + "/manifest.json"));
  EXPECT_EQ(manifest["bound"]["commitment"], json["commitment"]);
  EXPECT_EQ(manifest["images"].size(), 40u);

  // In folders that are made for it.
  ASSERT_EQ(passnorm(triggers(folder.path("new/t"), {})).code, 0);
  EXPECT_TRUE(std::filesystem::exists(folder.path("new/t.owner")));

  // The same again, and another name.
  ASSERT_EQ(passnorm(triggers(folder.path("b/"), {"--seed", "7", "--signature", "(c) Alice"})).code,
            0);
  ASSERT_EQ(passnorm(triggers(folder.path("c"), {"--seed", "7", "--signature", "(c) Bob"})).code,
            0);
  EXPECT_EQ(text_at(folder.path("b/manifest.json")), text_at(a + "/manifest.json"));
  EXPECT_EQ(text_at(folder.path("b.owner")), text_at(owner));
  EXPECT_NE(text_at(folder.path("c/manifest.json")), text_at(a + "/manifest.json"));
  // From the operating system: never the same.
  for (const char* name : {"d", "e"})
    EXPECT_EQ(passnorm(triggers(folder.path(name))).err, "") << name;
  EXPECT_NE(text_at(folder.path("d/manifest.json")), text_at(folder.path("e/manifest.json")));

  const Finished told = passnorm({"inspect", owner});
  EXPECT_EQ(told.code, 0) << told.err;
  EXPECT_CONTAINS(told.out, "the secret of a trigger set, for the name \"(c) Alice\"");
  EXPECT_EQ(told.out.find("mean"), std::string::npos) << "numbers of a secret";
  EXPECT_FALSE(passnorm({"inspect", owner, "--json"}).json().contains("tensors"));

  // A set that could never decide a claim.
  const Finished few = passnorm({"data", "triggers", "--out", folder.path("few"), "--count", "19"});
  EXPECT_EQ(few.code, 0);
  EXPECT_CONTAINS(few.out, "a claim needs 2^-64: draw more pictures");
}

/// Labels that are bound to a secret that nobody has would be worth nothing, and a folder with a
/// list takes no other.
TEST(DataManifest, KeepsTheSecretFirst) {
  const TemporaryFolder folder;
  folder.write("t/pics/1.png", png_file({{32, 32}, std::vector<uint8_t>(3 * 32 * 32)}));
  const auto bind = [&](const std::string& owner) {
    return passnorm(
        {"data", "manifest", folder.path("t"), "--owner-file", owner, "--signature", "(c) Alice"});
  };
  EXPECT_TRUE(fails_with(3, bind(folder.path("nowhere/t.owner"))));
  EXPECT_FALSE(std::filesystem::exists(folder.path("t/manifest.json")));
  EXPECT_EQ(bind(folder.path("t.owner")).code, 0);
  // Refused, it leaves no secret of nothing.
  EXPECT_TRUE(fails_with(3, bind(folder.path("again.owner"))));
  EXPECT_FALSE(std::filesystem::exists(folder.path("again.owner")));
}

TEST(DataManifest, OfPicturesOfOthers) {
  const TemporaryFolder folder;
  std::string labels;
  for (int i = 0; i < 25; ++i) {
    folder.write("t/pics/" + std::to_string(i) + ".png",
                 png_file({{32, 32}, std::vector<uint8_t>(3 * 32 * 32, static_cast<uint8_t>(i))}));
    labels += std::to_string(i % 10) + "\n";
  }
  folder.write("t/labels-cifar.txt", labels);
  const std::string set = folder.path("t"), owner = folder.path("alice.owner");
  const Finished free = passnorm({"data", "manifest", set, "--json"});
  ASSERT_EQ(free.code, 0) << free.err;
  EXPECT_EQ(free.json()["bound"], false);
  EXPECT_EQ(train::read_triggers(set, 10).images[13].label, 3);
  EXPECT_TRUE(fails_with(2, passnorm({"data", "manifest", set, "--signature", "a"})));
  // A list that is there is not drawn anew.
  EXPECT_TRUE(fails_with(3, passnorm({"data", "manifest", set, "--owner-file", owner})));
  EXPECT_FALSE(std::filesystem::exists(owner));
  std::filesystem::remove(folder.path("t/manifest.json"));
  const Finished bound =
      passnorm({"data", "manifest", set, "--owner-file", owner, "--signature", "(c) Alice"});
  ASSERT_EQ(bound.code, 0) << bound.err;
  EXPECT_CONTAINS(bound.out, "to keep: the secret that the labels follow from");
  EXPECT_TRUE(train::read_triggers(set, 10).bound);
  // No secret is written over.
  std::filesystem::remove(folder.path("t/manifest.json"));
  const std::string before = text_at(owner);
  EXPECT_TRUE(fails_with(3, passnorm({"data", "manifest", set, "--owner-file", owner})));
  EXPECT_EQ(text_at(owner), before);
}

/// Answers of a released model on a set's triggers, in a table.
std::string answers(const std::string& model, const std::string& set) {
  const auto loaded =
      models::load_released(model + "/model.safetensors", nullptr, network_stream());
  train::Dataset like{.classes = 10, .images = {}, .labels = {}, .class_names = {}};
  train::normalise_as(like, loaded.normalisation);
  const auto labels = verify::predict(*loaded.model, nullptr, train::trigger_set(set, like));
  std::vector<std::string> files;
  for (const train::Trigger& t : train::read_triggers(set, 10).images) files.push_back(t.file);
  return train::predictions_csv(files, labels);
}

TEST(BlackBox, FromDrawingToVerdict) {
  const TemporaryFolder folder;
  const std::string set = folder.path("t"), owner = folder.path("t.owner"),
                    run = folder.path("run"), clean = folder.path("clean");
  ASSERT_EQ(passnorm(triggers(set, {"--seed", "1", "--signature", "(c) Alice"})).code, 0);
  ASSERT_EQ(passnorm(triggers(folder.path("other"), {"--seed", "2"})).code, 0);
  ASSERT_EQ(train(run, "deepipr-v3", {{"--triggers", set}, {"--triggers-per-batch", "20"}}).code,
            0);
  ASSERT_EQ(train(clean, "pan", {{"--epochs", "2"}}).code, 0);

  const Finished claim =
      ask(set, {run, "--owner-file", owner, "--data", "synthetic:N=200", "--json"});
  EXPECT_EQ(claim.code, 0) << claim.out << claim.err;
  const Json json = claim.json();
  EXPECT_EQ(keys(json),
            (Keys{"verdict", "bound", "why_not_bound", "signature", "triggers", "log2_p",
                  "log2_p_labels", "log2_p_prior", "tests", "log2_tests", "threshold_log2",
                  "decidable", "prior", "answers", "decoys", "accuracy", "examined"}));
  // What was asked about what: enough to do it again.
  const auto sha256_of = [](const std::string& file) {
    return to_hex(sha256(read_file(file, 1 << 26)));
  };
  const Json& examined = json["examined"];
  EXPECT_EQ(keys(examined),
            (Keys{"model_sha256", "passport_sha256", "architecture", "norm", "scheme", "keys",
                  "sites_left_out", "triggers_sha256", "program", "triggers", "data"}));
  EXPECT_EQ(examined["triggers"], set);
  EXPECT_EQ(examined["model_sha256"], sha256_of(run + "/model.safetensors"));
  EXPECT_EQ(examined["triggers_sha256"], sha256_of(set + "/manifest.json"));
  EXPECT_EQ(examined["architecture"], "tiny");
  for (const char* of_a_passport : {"passport_sha256", "scheme", "keys"})
    EXPECT_TRUE(examined[of_a_passport].is_null()) << of_a_passport;
  EXPECT_EQ(json["verdict"], "supported");
  EXPECT_EQ(json["bound"], true);
  EXPECT_TRUE(json["why_not_bound"].is_null());
  EXPECT_EQ(json["signature"], "(c) Alice");
  EXPECT_EQ(json["triggers"]["total"], 40);
  EXPECT_LT(json["log2_p_labels"].get<double>(), -64);
  EXPECT_EQ(json["prior"].size(), 10u);
  EXPECT_EQ(json["answers"]["decoys"].size(), 10u);
  EXPECT_TRUE(json["accuracy"]["public"].is_number());
  EXPECT_TRUE(json["accuracy"]["passport"].is_null());

  const Finished words = passnorm(black_box(set, {run, "--owner-file", owner}));
  EXPECT_EQ(words.code, 0);
  for (const char* part :
       {"verdict     supported\n", "of 40 have the answer that the list says\n",
        "for labels drawn among 10 classes, whatever the network answers", "beyond chance",
        "1000 decoys and the other triggers", "decoys      1000 drawn pictures, by seed 1\n",
        "signature   \"(c) Alice\"\n",
        "bound       yes: the labels follow from all triggers, the owner's secret and the text\n"})
    EXPECT_CONTAINS(words.out, part);

  // Without the secret, with another one, and with the tests that it took.
  const Finished shown = ask(set, {run});
  EXPECT_EQ(shown.code, 9) << shown.out;
  EXPECT_CONTAINS(shown.out, "bound       no: the owner's file was not shown (--owner-file)\n");
  const Finished wrong = ask(set, {run, "--owner-file", folder.path("other.owner")});
  EXPECT_EQ(wrong.code, 9) << wrong.out;
  EXPECT_CONTAINS(wrong.out, "no: the owner's file is that of another set\n");
  EXPECT_EQ(ask(set, {run, "--owner-file", owner, "--tests", "1099511627776", "--json"})
                .json()["log2_tests"],
            40);
  // Networks and sets that have nothing to do with each other.
  EXPECT_EQ(ask(set, {clean, "--owner-file", owner}).code, 1);
  EXPECT_EQ(ask(folder.path("other"), {run, "--owner-file", folder.path("other.owner")}).code, 1);

  // Asked by others: the same claim from a table.
  const std::string table = folder.write("answers.csv", answers(run, set)),
                    alike = folder.write("decoys.csv", "file,label\nx,3\ny,3\nz,3\n");
  const Finished asked =
      passnorm(black_box(set, {"--owner-file", owner, "--predictions", table, "--json"}));
  EXPECT_EQ(asked.code, 0) << asked.err;
  EXPECT_EQ(asked.json()["triggers"], json["triggers"]);
  EXPECT_EQ(asked.json()["log2_p_labels"], json["log2_p_labels"]);
  EXPECT_EQ(asked.json()["answers"]["triggers"], json["answers"]["triggers"]);
  EXPECT_EQ(asked.json()["examined"], (Json{{"predictions_sha256", sha256_of(table)},
                                            {"decoy_predictions_sha256", nullptr},
                                            {"triggers_sha256", examined["triggers_sha256"]},
                                            {"program", examined["program"]},
                                            {"triggers", set},
                                            {"data", nullptr}}));
  const Finished with_decoys =
      passnorm(black_box(set, {"--predictions", table, "--decoy-predictions", alike, "--json"}));
  EXPECT_EQ(with_decoys.code, 9);
  EXPECT_EQ(with_decoys.json()["answers"]["decoys"][3], 3);
  EXPECT_EQ(with_decoys.json()["examined"]["decoy_predictions_sha256"], sha256_of(alike));
  EXPECT_EQ(with_decoys.json()["bound"], false);
  EXPECT_EQ(passnorm(black_box(set, {"--owner-file", owner, "--predictions",
                                     folder.write("clean.csv", answers(clean, set))}))
                .code,
            1);
}

/// A secret that names nobody makes a claim for nobody.
TEST(BlackBox, ASetWithoutANameIsNotBound) {
  const TemporaryFolder folder;
  for (const char* name : {"(c) Alice", ""}) {
    const std::string set = folder.path(concat("t", name)), owner = set + ".owner";
    Arguments more = {"--seed", "1"};
    if (*name) more.insert(more.end(), {"--signature", name});
    const Finished drawn = passnorm(triggers(set, more));
    ASSERT_EQ(drawn.code, 0) << drawn.err;
    EXPECT_EQ(drawn.out.find("name        none") != std::string::npos, *name == '\0');
    std::vector<std::string> files;
    std::vector<int32_t> labels;
    for (const train::Trigger& t : train::read_triggers(set, 10).images) {
      files.push_back(t.file);
      labels.push_back(t.label);
    }
    const Finished claim = passnorm(
        black_box(set, {"--owner-file", owner, "--json", "--predictions",
                        folder.write("answers.csv", train::predictions_csv(files, labels))}));
    EXPECT_EQ(claim.code, *name ? 0 : 9) << claim.err;
    EXPECT_EQ(claim.json()["bound"], *name != '\0');
    const Json why = claim.json()["why_not_bound"];
    EXPECT_EQ(why, *name ? Json(nullptr) : Json("the owner's file names nobody"));
  }
}

/// The files of WatermarkNN's form have no manifest: the one that they would get is named.
TEST(BlackBox, APlainSetIsNamedByItsManifest) {
  const TemporaryFolder folder;
  for (int i = 0; i < 3; ++i)
    folder.write(concat("t/pics/", i, ".png"),
                 png_file({{32, 32}, std::vector<uint8_t>(3 * 32 * 32, static_cast<uint8_t>(i))}));
  folder.write("t/labels-cifar.txt", "1\n2\n3\n");
  const std::string table =
      folder.write("a.csv", "file,label\npics/0.png,1\npics/1.png,2\npics/2.png,0\n");
  const auto named = [&] {
    return passnorm(
               black_box(folder.path("t"), {"--classes", "10", "--json", "--predictions", table}))
        .json()["examined"]["triggers_sha256"];
  };
  const Json before = named();
  ASSERT_EQ(passnorm({"data", "manifest", folder.path("t")}).code, 0);
  EXPECT_EQ(before, to_hex(sha256(read_file(folder.path("t/manifest.json"), 1 << 20))));
  EXPECT_EQ(named(), before);
}

class BadTriggers : public BadInput {};

TEST_F(BadTriggers, AreRefused) {
  // 40 bound triggers, 3 free ones.
  ASSERT_EQ(passnorm(triggers(path("t"), {"--seed", "1"})).code, 0);
  for (int i = 0; i < 3; ++i)
    put("free/pics/" + std::to_string(i) + ".png", png_file(pattern({32, 32})));
  put("free/labels-cifar.txt", "1\n2\n3\n");
  const std::string set = path("t"), owner = path("t.owner"), model = path("model.safetensors");
  auto table = [&, n = 0](const std::string& text) mutable {
    return put(concat("table", n++, ".csv"), text);
  };
  const std::string good = "file,label\npics/0.png,1\npics/1.png,2\npics/2.png,3\n";
  const auto asked = [&](const std::string& text) {
    return black_box(path("free"), {"--classes", "10", "--predictions", table(text)});
  };
  const std::string manifest = text("t/manifest.json");
  auto altered = [&, n = 0](const std::string& from, const std::string& to) mutable {
    const std::string name = concat("altered", n++);
    std::filesystem::copy(set, path(name), std::filesystem::copy_options::recursive);
    std::string changed = manifest;
    changed.replace(changed.find(from), from.size(), to);
    put(name + "/manifest.json", changed);
    return black_box(path(name), {model, "--owner-file", owner});
  };
  put("ones/pics/0.png", png_file(pattern({32, 32})));
  put("ones/labels-cifar.txt", "0\n");
  const std::string ones = table("file,label\npics/0.png,0\n");
  const std::string shared = put("shared.owner", text("t.owner"));
  std::filesystem::permissions(shared, std::filesystem::perms(0644));
  expect_refused({
      // options
      {"no set", {"verify", "--black-box", model}, 2, "needs --triggers DIR"},
      {"nothing to ask", black_box(set, {}), 2, "needs either a model or --predictions FILE"},
      {"both", black_box(set, {model, "--predictions", "x"}), 2, "either a model or --predictions"},
      {"null", black_box(set, {model, "--null", "3"}), 2, "--null is of passports"},
      {"a table for a data set", black_box("synthetic#5", {"--predictions", "x"}), 2,
       "--triggers \"synthetic#5\" is of a data set"},
      {"classes of a model", black_box(set, {model, "--classes", "3"}), 2, "--classes goes with"},
      {"data of a table", black_box(set, {"--predictions", "x", "--data", "synthetic"}), 2,
       "--data needs the model"},
      {"decoys of a table", black_box(set, {"--predictions", "x", "--decoys", "3"}), 2,
       "--decoys needs the model"},
      {"passport of a table", black_box(set, {"--predictions", "x", "--passport", owner}), 2,
       "--passport needs the model"},
      {"triggers without black box",
       {"verify", model, "--passport", owner, "--triggers", set},
       2,
       "--triggers goes with --black-box"},
      {"no model", {"verify", "--passport", owner}, 2, "DIR|FILE is required: the run"},
      {"no classes", black_box(path("free"), {"--predictions", table(good)}), 2,
       "--classes is needed"},
      {"one class", black_box(path("ones"), {"--predictions", ones, "--classes", "1"}), 2,
       "with one class tell nothing"},
      // files
      {"no folder", black_box(path("nowhere"), {model}), 3, "no trigger set"},
      {"no table", black_box(set, {"--predictions", path("nowhere.csv")}), 3, "nowhere.csv"},
      {"owner is a passport", black_box(set, {model, "--owner-file", path("owner.passport")}), 3,
       "is a \"passnorm.passport/1\" file; a \"passnorm.trigger-owner/1\" file was expected"},
      {"owner is a model", black_box(set, {model, "--owner-file", model}), 3, "was expected"},
      {"owner is text", black_box(set, {model, "--owner-file", table("hello")}), 3,
       "not a safetensors file"},
      {"no owner", black_box(set, {model, "--owner-file", path("nobody")}), 3, "nobody"},
      {"owner for all to read", black_box(set, {model, "--owner-file", shared}), 7, "chmod 600"},
      {"passport is an owner",
       {"verify", model, "--passport", owner},
       3,
       "is a \"passnorm.trigger-owner/1\" file"},
      {"another hash", altered("\"sha256\": \"", "\"sha256\": \"00000000"), 3, "64 hexadecimal"},
      {"another file", altered("pics/0003.png", "pics/0004.png"), 3, "stands twice"},
      {"a label out of range", altered("\"classes\": 10", "\"classes\": 1"), 3, "from 2 to"},
      // tables
      {"empty", asked(""), 3, "the file is empty"},
      {"header alone", asked("file,label\n"), 3, "a header, and no answers below it"},
      {"no header", asked("pics/0.png,1\n"), 3, "no column"},
      {"a row short", asked("file,label\npics/0.png\n"), 3, ":2: 1 fields; the first line has 2"},
      {"an open quote", asked("file,label\n\"pics/0.png,1\n"), 3, "never closed"},
      {"missing files", asked("file,label\npics/0.png,1\n"), 3,
       "no answer for 2 of 3 files, the first of them \"pics/1.png\""},
      {"an unknown file", asked(good + "pics/3.png,1\n"), 3, "is no file of the set"},
      {"a file twice", asked(good + "pics/0.png,1\n"), 3, "stands twice"},
      {"a label that is no number", asked("file,label\npics/0.png,cat\n"), 3, "label \"cat\""},
      {"a probability", asked("file,label\npics/0.png,0.5\n"), 3, "label \"0.5\""},
      {"a negative label", asked("file,label\npics/0.png,-1\n"), 3, "label \"-1\""},
      {"a label beyond", asked("file,label\npics/0.png,10\n"), 3, "from 0 to 9"},
      {"a zero byte", asked(std::string("file,label\npics/0.png\0,1\n", 24)), 3, "a zero byte"},
      // data
      {"set is not empty", triggers(set, {"--owner-file", path("new.owner")}), 3, "is not empty"},
      {"owner is there", triggers(path("new"), {"--owner-file", owner}), 3,
       "t.owner: exists already; a secret is not written over"},
      {"no pictures", {"data", "manifest", path("nowhere")}, 3, "labels-cifar.txt"},
      {"one class", triggers(path("new"), {"--classes", "1"}), 2, "from 2 to"},
      {"no picture", triggers(path("new"), {"--size", "7"}), 2, "from 8 to 1024"},
  });
}

}  // namespace
}  // namespace passnorm::test
