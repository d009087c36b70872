// passnorm export: what it writes, and what it refuses.
#include "models/export.hpp"

#include "tests/cli/program.hpp"
#include "tests/support/networks.hpp"

namespace passnorm::test {
namespace {

constexpr const char* kData = "synthetic:N=40";

/// A network with its passport in a folder, as a run leaves them; untrained.
struct RunFolder {
  TemporaryFolder folder;
  std::string path = folder.path(), passport = folder.path("owner.passport");

  explicit RunFolder(const char* scheme, const char* architecture = "tiny",
                     kernels::NormKind norm = kernels::NormKind::kBatch) {
    const auto model =
        models::make(architecture, {.norm = norm, .plan = PassportPlan::of(scheme), .seed = 3},
                     network_stream());
    unsettle(*model);
    models::save_released(*model, folder.path("model.safetensors"),
                          {{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}});
    if (model->sites().empty()) return;
    Passport owner = Passport::random(model->sites(), secret(1), Signature::from_text("owner"));
    models::take_lane_state(*model, owner);
    owner.save(passport);
  }
};

TEST(Export, AFoldedNetworkGivesTheSameAnswers) {
  const RunFolder run("pan");
  const std::string out = run.folder.path("folded.safetensors");
  const Finished f = passnorm({"export", run.path, "--fold", "--out", out, "--json"});
  ASSERT_EQ(f.code, 0) << f.err;
  const Json json = f.json();
  EXPECT_EQ(json.at("form"), "folded");
  EXPECT_EQ(json.at("model"), "tiny");
  EXPECT_EQ(json.at("bytes"), std::filesystem::file_size(out));
  EXPECT_LT(json.at("logits").at("largest_difference").get<double>(),
            1e-4 * json.at("logits").at("spread").get<double>());

  const auto eval = [&](const std::string& model) {
    return passnorm({"eval", model, "--data", kData, "--json"}).json();
  };
  const Json before = eval(run.path), after = eval(out);
  EXPECT_EQ(before.at("accuracy"), after.at("accuracy"));
  EXPECT_NEAR(before.at("loss").at("public").get<double>(),
              after.at("loss").at("public").get<double>(), 1e-4);

  // Its scales are positive: the owner reads as many bits from it.
  const auto verify = [&](const std::string& model) {
    return passnorm({"verify", model, "--passport", run.passport, "--data", kData, "--json"})
        .json();
  };
  const Json claim = verify(run.path), folded = verify(out);
  EXPECT_EQ(claim.at("bits"), folded.at("bits"));
  EXPECT_EQ(claim.at("sites"), folded.at("sites"));
  EXPECT_EQ(folded.at("accuracy").at("public"), claim.at("accuracy").at("public"));
  EXPECT_TRUE(folded.at("accuracy").at("passport").is_null());
}

TEST(Export, SaysWhatItWroteInWords) {
  const RunFolder run("none", "resnet9");
  const Finished folded =
      passnorm({"export", run.path, "--fold", "--out", run.folder.path("folded")});
  EXPECT_EQ(folded.code, 0) << folded.err;
  EXPECT_CONTAINS(folded.out, "12 convolutions");
  EXPECT_CONTAINS(folded.out, "differ by at most");
  const Finished names =
      passnorm({"export", run.path, "--names", "torchvision", "--out", run.folder.path("tv")});
  EXPECT_EQ(names.code, 0) << names.err;
  EXPECT_CONTAINS(names.out, "ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1]");
  EXPECT_CONTAINS(names.out, "net.maxpool = torch.nn.Identity()");
  EXPECT_NE(SafeTensors::open(run.folder.path("tv")).find("layer4.0.downsample.0.weight"), nullptr);
}

TEST(Export, APassportThatShipsIsFoldedIn) {
  const RunFolder run("deepipr-v1");
  const std::string out = run.folder.path("folded");
  const Finished without = passnorm({"export", run.path, "--fold", "--out", out});
  EXPECT_TRUE(fails_with(7, without));
  EXPECT_CONTAINS(without.err, "--passport");
  EXPECT_FALSE(std::filesystem::exists(out));
  EXPECT_EQ(passnorm({"export", run.path, "--fold", "--out", out, "--passport", run.passport}).code,
            0);
  const Json before =
      passnorm({"eval", run.path, "--data", kData, "--passport", run.passport, "--json"}).json();
  const Json after = passnorm({"eval", out, "--data", kData, "--json"}).json();
  EXPECT_EQ(before.at("accuracy").at("passport"), after.at("accuracy").at("public"));
  // Its signs are gone: nobody is told that he does not own it.
  EXPECT_TRUE(fails_with(3, passnorm({"verify", out, "--passport", run.passport})));
}

TEST(Export, RefusesWithOneLine) {
  const RunFolder pan("pan"), group("none", "tiny", kernels::NormKind::kGroup);
  const std::string out = pan.folder.path("out");
  const std::vector<std::vector<std::string>> refused = {
      {"export", pan.path, "--fold"},
      {"export", pan.path, "--out", out},
      {"export", "--fold", "--out", out},
      {"export", pan.path, "--fold", "--names", "torchvision", "--out", out},
      {"export", pan.path, "--names", "keras", "--out", out},
      {"export", pan.path, "--names", "torchvision", "--out", out},
      {"export", pan.path, "--fold", "--passport", pan.passport, "--out", out},
      {"export", group.path, "--fold", "--out", out},
  };
  for (const auto& arguments : refused) {
    EXPECT_TRUE(fails_with(2, passnorm(arguments)));
    EXPECT_FALSE(std::filesystem::exists(out));
  }
  EXPECT_TRUE(fails_with(3, passnorm({"export", out, "--fold", "--out", out})));
  EXPECT_TRUE(fails_with(
      3, passnorm({"export", pan.path, "--fold", "--out", pan.folder.path("no/such/folder")})));
}

TEST(Export, AnExistingFileStaysUnlessAsked) {
  const RunFolder run("none");
  const std::string model = run.folder.path("model.safetensors");
  const std::vector<std::byte> before = read_file(model, 1 << 24);
  const Finished f = passnorm({"export", run.path, "--fold", "--out", model});
  EXPECT_TRUE(fails_with(2, f));
  EXPECT_CONTAINS(f.err, "--overwrite");
  EXPECT_EQ(read_file(model, 1 << 24), before);
  EXPECT_EQ(passnorm({"export", run.path, "--fold", "--out", model, "--overwrite"}).code, 0);
  EXPECT_NE(read_file(model, 1 << 24), before);
  // What is folded has nothing left to fold.
  EXPECT_TRUE(fails_with(2, passnorm({"export", run.path, "--fold", "--out", model + ".2"})));
}

}  // namespace
}  // namespace passnorm::test
