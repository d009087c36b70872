// Every kind of passport from training to verdict: keys from images, trigger sets, sealed files.
#include <set>

#include "tests/cli/program.hpp"
#include "tests/support/images.hpp"

namespace passnorm::test {
namespace {

const char* const kData = "synthetic:N=600";

class Passports : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path(name); }
  Finished train(const std::string& out, const Settings& more) const {
    return passnorm(with("train",
                         {{"--model", "tiny"},
                          {"--data", kData},
                          {"--limit-test", "60"},
                          {"--epochs", "2"},
                          {"--batch", "20"},
                          {"--lr", "0.1"},
                          {"--nesterov", ""},
                          {"--schedule", "onecycle"},
                          {"--clip-norm", "2"},
                          {"--signature", "(c) Alice 2026"},
                          {"--out", path(out)}},
                         more));
  }
  /// A network without a passport, for keys from images.
  std::string pretrained() const {
    const Finished f = passnorm({"train", "--model", "tiny", "--data", kData, "--scheme", "none",
                                 "--epochs", "1", "--batch", "20", "--out", path("plain")});
    EXPECT_EQ(f.code, 0) << f.err;
    return path("plain");
  }
  Finished verify(const std::string& run, std::vector<std::string> more = {}) const {
    std::vector<std::string> a = {"verify", path(run), "--passport", path(run + "/owner.passport"),
                                  "--null", "0"};
    a.insert(a.end(), more.begin(), more.end());
    return passnorm(a);
  }
  /// Twelve pictures with labels, as WatermarkNN ships them.
  std::string triggers() const {
    std::string labels;
    for (int i = 1; i <= 12; ++i) {
      train::Picture picture = pattern({32, 32});  // in a colour of its own
      for (size_t v = 0; v < picture.rgb.size(); ++v)
        picture.rgb[v] = static_cast<uint8_t>(picture.rgb[v] / 8 + i * (v % 3 == 0   ? 18
                                                                        : v % 3 == 1 ? 5
                                                                                     : 11));
      folder_.write("triggers/pics/" + std::to_string(i) + ".png", png_file(picture));
      labels += std::to_string(i % 10) + ".000000e+00\n";
    }
    folder_.write("triggers/labels-cifar.txt", labels);
    return path("triggers");
  }
  std::string everything_but_the_passport(const std::string& run) const {
    std::string all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path(run)))
      if (entry.is_regular_file() && entry.path().filename() != "owner.passport")
        all += text_of(read_file(entry.path(), 1 << 26));
    return all;
  }

  TemporaryFolder folder_;
};

TEST_F(Passports, KeysFromImagesAreSupported) {
  const std::string plain = pretrained();
  for (const char* kind : {"image", "shuffle"}) {
    const Finished f =
        train(kind, {{"--passport", kind}, {"--pretrained", plain}, {"--sign-loss", "1"}});
    ASSERT_EQ(f.code, 0) << f.err;
    const Finished verdict = verify(kind, {"--json"});
    EXPECT_EQ(verdict.code, 0) << kind << verdict.out << verdict.err;
    EXPECT_EQ(verdict.json()["bits_bound"], true);
    // The pretrained network alone does not carry the claim.
    EXPECT_EQ(passnorm({"verify", plain, "--passport", path(std::string(kind) + "/owner.passport"),
                        "--null", "0"})
                  .code,
              1);
  }
}

TEST_F(Passports, TriggersAreLearntAndReported) {
  const Finished f = train("v3", {{"--scheme", "deepipr-v3"},
                                  {"--norm", "group"},
                                  {"--triggers", triggers()},
                                  {"--triggers-per-batch", "6"},
                                  {"--epochs", "5"},
                                  {"--json", ""}});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(f.err.find("note: deepipr-v3"), std::string::npos);
  const Json accuracy = f.json()["trigger_accuracy"];
  EXPECT_GT(accuracy["public"].get<double>(), 0.4);
  EXPECT_GT(accuracy["passport"].get<double>(), 0.4);
  const std::string metrics(text_of(read_file(path("v3/metrics.jsonl"), 1 << 20)));
  const Json last = parse_json("line", metrics.substr(metrics.rfind('\n', metrics.size() - 2) + 1));
  EXPECT_EQ(last["trigger_accuracy"], accuracy);
  EXPECT_EQ(verify("v3").code, 0);
  // Without triggers the scheme is another one, which is said.
  const Finished without =
      train("v2", {{"--scheme", "deepipr-v3"}, {"--norm", "group"}, {"--epochs", "1"}});
  EXPECT_EQ(without.code, 0);
  EXPECT_CONTAINS(without.err, "note: deepipr-v3 without --triggers trains as deepipr-v2 does\n");
  EXPECT_TRUE(fails_with(3, train("none", {{"--triggers", path("nothing")}})));
}

TEST_F(Passports, ASealedPassportNeedsItsPassphrase) {
  const std::string phrase = "correct horse battery staple";
  const std::string file = folder_.write("phrase", phrase + "\n");
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  const Finished f = train("run", {{"--seal", ""}, {"--passphrase-file", file}, {"--epochs", "1"}});
  ASSERT_EQ(f.code, 0) << f.err;
  const std::string sealed(text_of(read_file(path("run/owner.passport"), 1 << 26)));
  EXPECT_TRUE(sealed.starts_with("passnorm.sealed/1\n"));
  EXPECT_LE(verify("run", {"--passphrase-file", file}).code, 1);
  const std::string wrong = folder_.write("wrong", "correct horse battery stable\n");
  std::filesystem::permissions(wrong, std::filesystem::perms::owner_read);
  EXPECT_TRUE(fails_with(7, verify("run", {"--passphrase-file", wrong})));
  // Neither the passphrase nor the signature stands anywhere else.
  const std::string all = everything_but_the_passport("run") + f.out + f.err;
  EXPECT_GT(all.size(), 1000000u);
  EXPECT_EQ(all.find(phrase), std::string::npos);
  EXPECT_EQ(all.find("Alice"), std::string::npos);
  EXPECT_EQ(sealed.find("Alice"), std::string::npos);

  // A sealed run is continued, and stays sealed, only with it.
  std::filesystem::remove(path("run/model.safetensors"));
  EXPECT_EQ(passnorm({"train", "--resume", "--out", path("run"), "--passphrase-file", wrong}).code,
            7);
  const Finished resumed =
      passnorm({"train", "--resume", "--out", path("run"), "--passphrase-file", file});
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(
      text_of(read_file(path("run/owner.passport"), 1 << 26)).starts_with("passnorm.sealed/1\n"));
  EXPECT_EQ(passnorm({"train", "--resume", "--out", path("run"), "--seal", "--passphrase-file",
                      file, "--signature", "(c) Alice 2026"})
                .code,
            0)
      << "as it is";
  // Refused before anything is done.
  EXPECT_TRUE(fails_with(2, train("no", {{"--passphrase-file", file}})));
  EXPECT_TRUE(fails_with(2, train("no", {{"--seal", ""},
                                         {"--passphrase-file", file},
                                         {"--scheme", "none"},
                                         {"--signature", " "}})));
  EXPECT_FALSE(std::filesystem::exists(path("no")));
}

TEST_F(Passports, ARunThatIsContinuedKeepsItsPassport) {
  ASSERT_EQ(train("run", {{"--epochs", "1"}}).code, 0);
  const std::string before(text_of(read_file(path("run/owner.passport"), 1 << 26)));
  const std::string phrase = folder_.write("phrase", "correct horse battery staple\n");
  std::filesystem::permissions(phrase, std::filesystem::perms::owner_read);
  const auto resume = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"train", "--resume", "--out", path("run")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return passnorm(arguments);
  };
  const Finished sealed = resume({"--seal", "--passphrase-file", phrase});
  EXPECT_TRUE(fails_with(2, sealed));
  EXPECT_CONTAINS(sealed.err, "is not sealed, and is kept as it is");
  const Finished named = resume({"--signature", "(c) Bob"});
  EXPECT_TRUE(fails_with(2, named));
  EXPECT_CONTAINS(named.err, "a passport of another signature, and keeps it");
  EXPECT_TRUE(fails_with(2, resume({"--signature-ascii", "Alice"})));
  EXPECT_TRUE(text_of(read_file(path("run/owner.passport"), 1 << 26)) == before);
}

/// A seed that the passport follows from is as secret as the passport.
TEST_F(Passports, SettingsWithTheirSeedAreForTheOwnerOnly) {
  const auto mode = [&](const char* run) {
    return std::filesystem::status(path(run) + "/config.toml").permissions() &
           std::filesystem::perms::all;
  };
  using std::filesystem::perms;
  ASSERT_EQ(train("seed", {{"--seed", "3"}, {"--epochs", "1"}}).code, 0);
  EXPECT_EQ(mode("seed"), perms::owner_read | perms::owner_write);
  ASSERT_EQ(train("drawn", {{"--seed", "3"}, {"--secret", "random"}, {"--epochs", "1"}}).code, 0);
  EXPECT_NE(mode("drawn") & perms::group_read, perms::none);
  const std::string phrase = folder_.write("phrase", "correct horse battery staple\n");
  std::filesystem::permissions(phrase, std::filesystem::perms::owner_read);
  const Finished both =
      train("both", {{"--seed", "3"}, {"--seal", ""}, {"--passphrase-file", phrase}});
  EXPECT_TRUE(fails_with(2, both));
  EXPECT_CONTAINS(both.err, "--secret random");
  EXPECT_FALSE(std::filesystem::exists(path("both")));
}

TEST_F(Passports, ASeedDoesNotHaveToGiveThePassport) {
  for (const char* name : {"a", "b"})
    ASSERT_EQ(train(name, {{"--seed", "3"}, {"--secret", "random"}, {"--epochs", "1"}}).code, 0);
  EXPECT_FALSE(text_of(read_file(path("a/owner.passport"), 1 << 26)) ==
               text_of(read_file(path("b/owner.passport"), 1 << 26)));
  // Without one a drawn seed stands in config.toml: it must not be the secret.
  EXPECT_TRUE(fails_with(2, train("c", {{"--secret", "seed"}})));
}

TEST_F(Passports, InBf16) {
  const Finished f = train("run", {{"--precision", "bf16"}});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(verify("run").code, 0);
}

}  // namespace
}  // namespace passnorm::test
