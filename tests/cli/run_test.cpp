// train -> eval -> verify through the program, on runs of a few seconds.
#include <sys/stat.h>
#include <toml++/toml.h>

#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>

#include "engine/io/crypto.hpp"
#include "tests/cli/program.hpp"

namespace passnorm::test {
namespace {

using Arguments = std::vector<std::string>;
using Keys = std::vector<std::string>;

const char* const kData = "synthetic:N=600";

/// Over in a second, and long enough to carry the bits.
Finished train(const std::string& out, const Settings& more) {
  return passnorm(with("train",
                       {{"--model", "tiny"},
                        {"--data", kData},
                        {"--epochs", "2"},
                        {"--batch", "20"},
                        {"--lr", "0.1"},
                        {"--nesterov", ""},
                        {"--schedule", "onecycle"},
                        {"--clip-norm", "2"},
                        {"--crop-pad", "2"},
                        {"--threads", "2"},
                        {"--out", out}},
                       more));
}

/// Four steps.
Finished train_briefly(const std::string& out, const Settings& more = {}) {
  Settings brief = {{"--data", "synthetic:N=40"}, {"--epochs", "1"}, {"--batch", "10"}};
  brief.insert(brief.end(), more.begin(), more.end());
  return train(out, brief);
}

/// The runs that the tests share. Each is trained when a test first needs it: under ctest every
/// test is a process of its own.
class Runs : public testing::Test {
 protected:
  static void SetUpTestSuite() { folder_ = std::make_unique<TemporaryFolder>(); }
  static void TearDownTestSuite() {
    finished_.clear();
    folder_.reset();
  }

  /// owner, unbound, stranger, shipped or plain.
  static const Finished& run(const std::string& name) {
    const auto known = finished_.find(name);
    if (known != finished_.end()) return known->second;
    Finished f;
    if (name == "owner")
      f = train(path(name), {{"--signature", "(c) Alice"}, {"--seed", "3"}, {"--json", ""}});
    else if (name == "unbound")
      f = train(path(name), {{"--signature-ascii", "Alice"}});
    else if (name == "stranger")
      f = train_briefly(path(name), {{"--seed", "4"}});
    else if (name == "shipped")
      f = train_briefly(path(name), {{"--scheme", "deepipr-v1"}});
    else if (name == "plain")
      f = train_briefly(path(name), {{"--scheme", "none"}, {"--json", ""}});
    EXPECT_EQ(f.code, 0) << name << ": " << f.err;
    return finished_.emplace(name, std::move(f)).first->second;
  }
  static void need(std::initializer_list<const char*> names) {
    for (const char* name : names) run(name);
  }

  static std::string path(const std::string& name) { return folder_->path(name); }
  static std::string passport(const std::string& run) { return path(run + "/owner.passport"); }
  static std::string text(const std::string& name) {
    return std::string(text_of(read_file(path(name), 1 << 26)));
  }
  static unsigned mode(const std::string& file) {
    struct stat s {};
    EXPECT_EQ(::stat(file.c_str(), &s), 0) << file;
    return s.st_mode & 0777u;
  }

  static std::unique_ptr<TemporaryFolder> folder_;
  static std::map<std::string, Finished> finished_;
};
std::unique_ptr<TemporaryFolder> Runs::folder_;
std::map<std::string, Finished> Runs::finished_;

TEST_F(Runs, TrainLeavesItsFiles) {
  need({"owner", "unbound", "shipped", "plain"});
  for (const char* name : {"owner", "unbound", "shipped", "plain"}) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path(name)))
      names.insert(entry.path().filename());
    std::set<std::string> expected = {"checkpoints", "config.toml", "metrics.csv", "metrics.jsonl",
                                      "model.safetensors"};
    if (name != std::string("plain")) {
      expected.insert("owner.passport");
      EXPECT_EQ(mode(passport(name)), 0600u);
    }
    EXPECT_EQ(names, expected) << name;
    EXPECT_EQ(mode(path(std::string(name) + "/model.safetensors")) & 0400u, 0400u);
  }
  const Json owner = run("owner").json();
  EXPECT_EQ(keys(owner), (Keys{"out", "accuracy", "trigger_accuracy", "bits", "epochs", "epoch",
                               "seconds", "images_per_second"}));
  EXPECT_EQ(owner["out"], path("owner"));
  EXPECT_EQ(owner["epochs"], 2);
  EXPECT_GT(owner["accuracy"]["public"].get<double>(), 0.1);
  EXPECT_GT(owner["accuracy"]["passport"].get<double>(), 0.1);
  EXPECT_GT(owner["bits"].get<double>(), 0.8);
  const Json plain = run("plain").json();
  EXPECT_EQ(keys(plain), keys(owner));
  EXPECT_TRUE(plain["accuracy"]["passport"].is_null());
  EXPECT_TRUE(plain["bits"].is_null());
  EXPECT_CONTAINS(run("unbound").out, "owner.passport");
  // Progress is for people: lines, and no control characters where there is no terminal.
  for (const Finished* f : {&run("owner"), &run("plain")}) {
    EXPECT_CONTAINS(f->err, "epoch 1/");
    EXPECT_EQ(f->err.find('\r'), std::string::npos);
    EXPECT_EQ(f->err.find('\x1b'), std::string::npos);
  }
}

TEST_F(Runs, MetricsAreOneObjectAndOneRowPerEpoch) {
  need({"owner", "plain", "shipped"});
  std::istringstream lines(text("owner/metrics.jsonl"));
  std::string line;
  int64_t epoch = 0;
  while (std::getline(lines, line)) {
    const Json json = parse_json("line", line);
    EXPECT_EQ(keys(json), (Keys{"epoch", "lr", "loss", "sign_loss", "train_accuracy",
                                "test_accuracy", "trigger_accuracy", "bits", "sites",
                                "skipped_steps", "images_per_second", "seconds"}));
    EXPECT_EQ(json["epoch"], ++epoch);
    for (const char* what : {"loss", "train_accuracy", "test_accuracy"}) {
      EXPECT_EQ(keys(json[what]), (Keys{"public", "passport"}));
      EXPECT_GT(json[what]["public"].get<double>(), 0);
    }
    EXPECT_EQ(keys(json["sites"]), (Keys{"conv3", "conv4"}));
    EXPECT_EQ(json["skipped_steps"], 0);
  }
  EXPECT_EQ(epoch, 2);
  EXPECT_EQ(parse_json(
                "line",
                line.empty()
                    ? text("owner/metrics.jsonl").substr(text("owner/metrics.jsonl").find('\n') + 1)
                    : line)["test_accuracy"],
            run("owner").json()["accuracy"]);

  for (const char* name : {"owner", "plain", "shipped"}) {
    std::istringstream rows(text(std::string(name) + "/metrics.csv"));
    std::vector<std::ptrdiff_t> commas;
    while (std::getline(rows, line)) commas.push_back(std::ranges::count(line, ','));
    ASSERT_EQ(commas.size(), name == std::string("owner") ? 3u : 2u);
    for (const auto n : commas) EXPECT_EQ(n, commas[0]) << name;
  }
}

TEST_F(Runs, ConfigHoldsEveryOption) {
  need({"owner"});
  const toml::table config = toml::parse(text("owner/config.toml"));
  std::set<std::string> written, known;
  for (const auto& [key, value] : config) written.insert(std::string(key.str()));
  // Every option of --help but those of one call, where the run lies, and what is secret.
  const std::string help = passnorm({"train", "--help"}).out;
  const std::regex option(R"(\n  --(?:\[no-\])?([a-z-]+))");
  for (std::sregex_iterator it(help.begin(), help.end(), option), end; it != end; ++it)
    known.insert((*it)[1]);
  for (const char* other :
       {"help", "out", "config", "resume", "dry-run", "json", "overwrite", "signature",
        "signature-ascii", "seal", "passphrase-file", "passphrase-fd"}) {
    EXPECT_EQ(known.erase(other), 1u) << other;
    EXPECT_FALSE(written.contains(other)) << other;
  }
  EXPECT_GT(known.size(), 30u);
  EXPECT_EQ(written, known);
  EXPECT_EQ(config["model"].value<std::string>(), "tiny");
  EXPECT_EQ(config["data"].value<std::string>(), kData);
  EXPECT_EQ(config["epochs"].value<int64_t>(), 2);
  EXPECT_EQ(config["schedule"].value<std::string>(), "onecycle");
  EXPECT_EQ(config["nesterov"].value<bool>(), true);
  EXPECT_EQ(config["lr"].value<double>(), 0.1);
  EXPECT_EQ(text("owner/config.toml").find("Alice"), std::string::npos);
  EXPECT_EQ(text("owner/metrics.jsonl").find("Alice"), std::string::npos);
}

TEST_F(Runs, EvalReportsTheBranchesThatItCanRun) {
  need({"owner", "plain", "shipped"});
  const Json owner =
      passnorm({"eval", path("owner"), "--data", kData, "--passport", passport("owner"), "--json"})
          .json();
  EXPECT_EQ(keys(owner), (Keys{"accuracy", "loss", "class_accuracy", "images", "model"}));
  EXPECT_EQ(keys(owner["accuracy"]), (Keys{"public", "passport"}));
  // The files hold the network that was trained, to the last image.
  EXPECT_EQ(owner["accuracy"], run("owner").json()["accuracy"]);
  EXPECT_EQ(owner["images"], 150);
  EXPECT_EQ(owner["model"], "tiny");

  const Json released =
      passnorm({"eval", path("owner/model.safetensors"), "--data", kData, "--json"}).json();
  EXPECT_EQ(released["accuracy"]["public"], owner["accuracy"]["public"]);
  EXPECT_TRUE(released["accuracy"]["passport"].is_null());
  EXPECT_TRUE(released["loss"]["passport"].is_null());

  const Finished plain = passnorm({"eval", path("plain"), "--data", kData, "--limit-test", "7"});
  EXPECT_EQ(plain.code, 0) << plain.err;
  EXPECT_CONTAINS(plain.out, "7 images");
  EXPECT_EQ(plain.out.find("passport"), std::string::npos);

  const Json shipped = passnorm({"eval", path("shipped"), "--data", kData, "--passport",
                                 passport("shipped"), "--json"})
                           .json();
  EXPECT_TRUE(shipped["accuracy"]["public"].is_null());
  EXPECT_FALSE(shipped["accuracy"]["passport"].is_null());
}

TEST_F(Runs, VerifySettlesTheClaim) {
  need({"owner", "unbound", "stranger"});
  const auto verify = [&](const char* model, const char* owner, Arguments more = {}) {
    Arguments a = {"verify", path(model), "--passport", passport(owner), "--null", "5", "--json"};
    a.insert(a.end(), more.begin(), more.end());
    return passnorm(a);
  };
  const Finished yes =
      verify("owner", "owner", {"--data", kData, "--null-images", "50", "--limit-test", "100"});
  ASSERT_EQ(yes.code, 0) << yes.err << yes.out;
  const Json json = yes.json();
  EXPECT_EQ(keys(json), (Keys{"verdict", "bits_bound", "signature", "bits", "log2_p", "tests",
                              "possible_sites", "log2_tests", "threshold_log2", "decidable",
                              "sites", "accuracy", "null", "examined"}));
  EXPECT_EQ(json["possible_sites"], 4);
  EXPECT_EQ(json["decidable"], true);
  // What was examined, by what: enough to do it again.
  const Json& examined = json["examined"];
  EXPECT_EQ(keys(examined), (Keys{"model_sha256", "passport_sha256", "architecture", "norm",
                                  "scheme", "keys", "sites_left_out", "program", "data"}));
  EXPECT_EQ(examined["sites_left_out"], Json::array());
  EXPECT_EQ(examined["data"], (Json{{"spec", kData}, {"limit_test", 100}}));
  const auto sha256_of = [](const std::string& file) {
    return to_hex(sha256(read_file(file, 1 << 26)));
  };
  EXPECT_EQ(examined["model_sha256"], sha256_of(path("owner/model.safetensors")));
  EXPECT_EQ(examined["passport_sha256"], sha256_of(passport("owner")));
  EXPECT_EQ(examined["scheme"], "pan");
  EXPECT_EQ(examined["keys"], "random");
  EXPECT_EQ(json["verdict"], "supported");
  EXPECT_EQ(json["bits_bound"], true);
  EXPECT_EQ(keys(json["bits"]), (Keys{"matched", "total"}));
  EXPECT_EQ(json["bits"]["total"], 256);
  EXPECT_LE(json["log2_p"].get<double>(), -64);
  EXPECT_EQ(json["threshold_log2"], -64);
  EXPECT_EQ(json["tests"], 1);
  EXPECT_EQ(json["log2_tests"], 4);  // four layers could carry a passport
  EXPECT_EQ(json["signature"], "(c) Alice");
  ASSERT_EQ(json["sites"].size(), 2u);
  int64_t matched = 0;
  for (const Json& site : json["sites"]) {
    EXPECT_EQ(keys(site), (Keys{"name", "matched", "total"}));
    matched += site["matched"].get<int64_t>();
  }
  EXPECT_EQ(json["bits"]["matched"], matched);
  EXPECT_EQ(keys(json["accuracy"]), (Keys{"public", "passport", "images"}));
  EXPECT_GT(json["accuracy"]["images"].get<int64_t>(), 0);
  EXPECT_FALSE(json["accuracy"]["passport"].is_null());
  const Json& null = json["null"];
  EXPECT_EQ(keys(null), (Keys{"passports", "seed", "matched", "accuracy"}));
  EXPECT_EQ(null["passports"], 5);
  EXPECT_EQ(keys(null["matched"]), (Keys{"mean", "stddev", "most"}));
  EXPECT_EQ(keys(null["accuracy"]), (Keys{"images", "owner", "mean", "best", "histogram"}));
  EXPECT_EQ(null["accuracy"]["images"], 50);
  int counted = 0;
  for (const Json& n : null["accuracy"]["histogram"]) counted += n.get<int>();
  EXPECT_EQ(counted, 5);

  // Without data: the same verdict, no accuracy.
  const Finished read = verify("owner", "owner");
  EXPECT_EQ(read.code, 0);
  EXPECT_EQ(keys(read.json()), keys(json));
  EXPECT_EQ(read.json()["bits"], json["bits"]);
  EXPECT_TRUE(read.json()["accuracy"]["public"].is_null());
  EXPECT_TRUE(read.json()["accuracy"]["passport"].is_null());
  EXPECT_EQ(keys(read.json()["null"]), (Keys{"passports", "seed", "matched"}));

  const Finished no = verify("owner", "stranger");
  EXPECT_EQ(no.code, 1) << no.err;
  EXPECT_EQ(no.json()["verdict"], "not supported");
  EXPECT_GT(no.json()["log2_p"].get<double>(), -64);

  const Finished unclear = verify("unbound", "unbound");
  EXPECT_EQ(unclear.code, 9) << unclear.err;
  EXPECT_EQ(unclear.json()["verdict"], "inconclusive");
  EXPECT_EQ(unclear.json()["bits_bound"], false);
  EXPECT_LE(unclear.json()["log2_p"].get<double>(), -64);

  // So many attempts that this match is no surprise.
  const Finished corrected = verify("owner", "owner", {"--tests", "1099511627776"});
  EXPECT_EQ(corrected.json()["tests"], int64_t{1} << 40);
  EXPECT_EQ(corrected.code, json["log2_p"].get<double>() + 44 <= -64 ? 0 : 1);

  // For people: the same verdict, in words.
  const Finished words =
      passnorm({"verify", path("owner"), "--passport", passport("owner"), "--null", "3"});
  EXPECT_EQ(words.code, 0);
  EXPECT_CONTAINS(words.out, "supported");
  EXPECT_CONTAINS(words.out, "256");
}

TEST_F(Runs, ASeedRepeatsTheRunToTheByte) {
  need({"stranger"});
  EXPECT_EQ(train_briefly(path("a"), {{"--seed", "4"}}).code, 0);
  EXPECT_EQ(train_briefly(path("b"), {{"--seed", "9"}}).code, 0);
  EXPECT_EQ(text("a/model.safetensors"), text("stranger/model.safetensors"));
  EXPECT_EQ(text("a/owner.passport"), text("stranger/owner.passport"));
  EXPECT_EQ(text("a/config.toml"), text("stranger/config.toml"));
  EXPECT_NE(text("b/model.safetensors"), text("stranger/model.safetensors"));
  EXPECT_NE(text("b/owner.passport"), text("stranger/owner.passport"));
  // Without a seed the secret is a new one.
  EXPECT_EQ(train_briefly(path("c")).code, 0);
  EXPECT_EQ(train_briefly(path("d")).code, 0);
  EXPECT_NE(text("c/owner.passport"), text("d/owner.passport"));
}

TEST_F(Runs, AnEarlierRunIsNotOverwrittenUnasked) {
  ASSERT_EQ(train_briefly(path("kept")).code, 0);
  const std::string model = text("kept/model.safetensors"), secret = text("kept/owner.passport");
  const std::string metrics = text("kept/metrics.jsonl");
  const Finished refused = train_briefly(path("kept"));
  EXPECT_TRUE(fails_with(2, refused));
  EXPECT_CONTAINS(refused.err, "--overwrite");
  EXPECT_EQ(text("kept/model.safetensors"), model);
  EXPECT_EQ(text("kept/owner.passport"), secret);
  EXPECT_EQ(text("kept/metrics.jsonl"), metrics);

  EXPECT_EQ(train_briefly(path("kept"), {{"--overwrite", ""}}).code, 0);
  EXPECT_NE(text("kept/owner.passport"), secret);
  EXPECT_EQ(std::ranges::count(text("kept/metrics.jsonl"), '\n'), 1);  // not appended
  // A plain network over it leaves no passport that belongs to nothing.
  EXPECT_EQ(train_briefly(path("kept"), {{"--overwrite", ""}, {"--scheme", "none"}}).code, 0);
  EXPECT_FALSE(std::filesystem::exists(passport("kept")));
}

TEST_F(Runs, SecretsMustBeTheOwnersAlone) {
  need({"owner", "shipped"});
  const std::string copy = path("readable.passport");
  std::filesystem::copy_file(passport("owner"), copy);
  for (const auto bits :
       {std::filesystem::perms::group_read, std::filesystem::perms::others_read}) {
    std::filesystem::permissions(copy, std::filesystem::perms::owner_read | bits);
    const Finished f = passnorm({"verify", path("owner"), "--passport", copy});
    EXPECT_TRUE(fails_with(7, f));
    EXPECT_CONTAINS(f.err, "chmod 600");
    EXPECT_TRUE(
        fails_with(7, passnorm({"eval", path("owner"), "--passport", copy, "--data", kData})));
  }
  // A network whose affine is the passport's does not run without it.
  EXPECT_TRUE(fails_with(7, passnorm({"eval", path("shipped"), "--data", kData})));
}

TEST_F(Runs, FilesOfAnotherKindAreRefused) {
  need({"owner", "shipped"});
  const std::string model = path("owner/model.safetensors");
  std::string bytes = text("owner/model.safetensors");
  const std::string cut = folder_->write("cut.safetensors", bytes.substr(0, bytes.size() - 9));
  const std::string secret = path("model.as.passport");
  std::filesystem::copy_file(model, secret);
  std::filesystem::permissions(secret, std::filesystem::perms::owner_read);
  EXPECT_TRUE(fails_with(3, passnorm({"verify", model, "--passport", secret})));
  EXPECT_TRUE(
      fails_with(3, passnorm({"verify", passport("owner"), "--passport", passport("owner")})));
  EXPECT_TRUE(fails_with(3, passnorm({"verify", cut, "--passport", passport("owner")})));
  EXPECT_TRUE(fails_with(3, passnorm({"eval", cut, "--data", kData})));
  // A passport of another scheme, a network without its tensors, a set of other classes.
  EXPECT_TRUE(fails_with(
      3, passnorm({"eval", path("owner"), "--data", kData, "--passport", passport("shipped")})));
  EXPECT_TRUE(fails_with(3, passnorm({"train", "--data", kData, "--model", "tiny", "--out",
                                      path("never"), "--passport", "image", "--pretrained", cut})));
}

TEST_F(Runs, ImagePassportsComeFromAPretrainedNetwork) {
  need({"plain"});
  for (const char* kind : {"image", "shuffle"}) {
    const std::string out = path(kind);
    const Finished f = train(out, {{"--data", "synthetic:N=120"},
                                   {"--epochs", "1"},
                                   {"--passport", kind},
                                   {"--pretrained", path("plain")},
                                   {"--signature", "(c) Alice"},
                                   {"--seed", "1"},
                                   {"--json", ""}});
    ASSERT_EQ(f.code, 0) << f.err;
    const Finished verdict =
        passnorm({"verify", out, "--passport", passport(kind), "--null", "0", "--json"});
    EXPECT_EQ(verdict.json()["bits_bound"], true) << kind;
    EXPECT_LE(verdict.code, 1) << verdict.err;
  }
}

TEST_F(Runs, NumbersThatAreGoneEndTheRun) {
  const Finished f = train(path("gone"), {{"--data", "synthetic:N=300"},
                                          {"--batch", "10"},
                                          {"--lr", "1e6"},
                                          {"--weight-decay", "1e6"},
                                          {"--clip-norm", "0"},
                                          {"--schedule", "constant"}});
  EXPECT_EQ(f.code, 6) << f.err;
  EXPECT_CONTAINS(f.err, "passnorm: losses or gradients were NaN or infinite");
  EXPECT_FALSE(std::filesystem::exists(path("gone/model.safetensors")));
}

}  // namespace
}  // namespace passnorm::test
