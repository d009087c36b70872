// Trigger clouds from drawing to verdict through the program, on a PointNet.
#include "kernels/runtime/dtype.hpp"
#include "tests/cli/bad_input.hpp"
#include "train/data/npy.hpp"
#include "train/data/predictions.hpp"
#include "train/data/trigger_set.hpp"
#include "verify/black_box.hpp"

namespace passnorm::test {
namespace {

using Arguments = std::vector<std::string>;

constexpr const char* kData = "synthetic3d:N=16:points=16";  // 8 classes, 4 test clouds

Arguments draw(const std::string& out, const Arguments& more) {
  Arguments all = {"data", "triggers", "--out", out,           "--points",  "16",        "--count",
                   "40",   "--seed",   "1",     "--signature", "(c) Alice", "--classes", "8"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

Arguments black_box(const std::string& set, const Arguments& more) {
  Arguments all = {"verify", "--black-box", "--triggers", set, "--decoys", "50", "--threads", "2"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// A network that has seen nothing.
std::unique_ptr<Model> pointnet() {
  auto model = models::make(
      "pointnet", {.classes = 8, .norm = kernels::NormKind::kGroup, .points = 8, .seed = 9},
      network_stream());
  unsettle(*model);
  return model;
}
void save(const Model& model, const std::string& path) {
  models::save_released(model, path, {.mean = {0, 0, 0}, .stddev = {1, 1, 1}});
}

/// n clouds of lamps and vases: <split>_*.bin, classes that synthetic3d has not.
void write_packed(const TemporaryFolder& folder, const std::string& in, int n, int p) {
  const Random random(1, Purpose::kTest);
  std::string labels, points;
  for (int i = 0; i < n; ++i) labels += static_cast<char>(i % 2);
  for (int i = 0; i < 3 * n * p; ++i) {
    const uint16_t bits = float16(random.uniform(static_cast<uint64_t>(i)) - 0.5f).bits;
    points += {static_cast<char>(bits), static_cast<char>(bits >> 8)};
  }
  folder.write(in + "/test_labels_u8.bin", labels);
  folder.write(in + "/test_points_f16.bin", points);
  folder.write(in + "/shape_names.txt", "lamp\nvase\n");
}

TEST(BlackBoxClouds, FromDrawingToVerdict) {
  const TemporaryFolder folder;
  const std::string set = folder.path("t"), owner = folder.path("t.owner"),
                    run = folder.path("run"), clean = folder.path("clean.safetensors");
  const Finished drawn = passnorm(draw(set, {}));
  ASSERT_EQ(drawn.code, 0) << drawn.err;
  EXPECT_CONTAINS(drawn.out, "40 clouds and manifest.json");
  EXPECT_CONTAINS(drawn.out, "the secret that the labels and clouds follow from");
  EXPECT_CONTAINS(drawn.out, "2^-120 that a network gives all of them their labels");
  const Finished trained = passnorm(with("train",
                                         {{"--model", "pointnet"},
                                          {"--data", kData},
                                          {"--scheme", "deepipr-v3"},
                                          {"--norm", "group"},
                                          {"--triggers", set},
                                          {"--triggers-per-batch", "40"},
                                          {"--optimizer", "adam"},
                                          {"--lr", "0.0003"},
                                          {"--schedule", "onecycle"},
                                          {"--sites", "p1"},
                                          {"--no-augment-points", ""},
                                          {"--epochs", "16"},
                                          {"--batch", "4"},
                                          {"--seed", "1"},
                                          {"--threads", "2"},
                                          {"--out", run}},
                                         {}));
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_CONTAINS(trained.err, "clouds/s");

  const Finished claim = passnorm(black_box(set, {run, "--owner-file", owner, "--json"}));
  EXPECT_EQ(claim.code, 0) << claim.out << claim.err;
  const Json json = claim.json();
  EXPECT_EQ(json["verdict"], "supported");
  EXPECT_EQ(json["bound"], true);
  EXPECT_EQ(json["triggers"]["total"], 40);
  EXPECT_LT(json["log2_p_labels"].get<double>(), -64);
  EXPECT_EQ(json["decoys"], (Json{{"count", 50}, {"kind", "drawn clouds"}, {"seed", 1}}));
  EXPECT_EQ(json["answers"]["decoys"].size(), 8u);
  const Finished words =
      passnorm(black_box(set, {run, "--owner-file", owner, "--data", kData, "--seed", "7"}));
  EXPECT_EQ(words.code, 0) << words.err;
  for (const char* part : {"verdict     supported\n", "decoys      50 drawn clouds, by seed 7\n",
                           "50 decoys and the other triggers", ", passport - on 4 clouds\n"})
    EXPECT_CONTAINS(words.out, part);

  // Without the secret, and a network that has never seen them.
  EXPECT_EQ(passnorm(black_box(set, {run})).code, 9);
  save(*pointnet(), clean);
  EXPECT_EQ(passnorm(black_box(set, {clean, "--owner-file", owner})).code, 1);
  // Asked by others: the same claim from a table.
  const auto loaded = models::load_released(run + "/model.safetensors", nullptr, network_stream());
  train::Dataset like;
  like.h = 1;
  like.w = 0;
  like.classes = 8;
  const auto answers = verify::predict(*loaded.model, nullptr, train::trigger_set(set, like));
  std::vector<std::string> files;
  for (const train::Trigger& t : train::read_triggers(set, 8).images) files.push_back(t.file);
  const Finished asked =
      passnorm({"verify", "--black-box", "--triggers", set, "--owner-file", owner, "--json",
                "--predictions", folder.write("a.csv", train::predictions_csv(files, answers))});
  EXPECT_EQ(asked.code, 0) << asked.err;
  EXPECT_EQ(asked.json()["triggers"], json["triggers"]);
}

/// A network that has seen no triggers answers with labels that somebody wrote down after asking
/// it: its answers are alike, and the prior shows it.
TEST(BlackBoxClouds, TriggersOfOthers) {
  const TemporaryFolder folder;
  const std::string model = folder.path("m.safetensors");
  const auto network = pointnet();
  save(*network, model);
  train::Dataset given;  // solids, as a thief may collect them
  given.h = 1;
  given.w = 8;
  given.classes = 8;
  const Random random(3, Purpose::kTest);
  for (uint64_t i = 0; i < 24; ++i) {
    std::vector<float> cloud;
    for (uint64_t k = 0; k < 24; ++k) cloud.push_back(random.uniform(24 * i + k) - 0.5f);
    folder.write(concat("t/clouds/", i, ".npy"), text_of(train::encode_npy_cloud(cloud)));
    given.points.insert(given.points.end(), cloud.begin(), cloud.end());
    given.labels.push_back(0);
  }
  given.n = 24;
  std::string labels;
  for (const int32_t answer : verify::predict(*network, nullptr, given))
    labels += std::to_string(answer) + "\n";
  folder.write("t/labels-cifar.txt", labels);
  const Finished listed = passnorm({"data", "manifest", folder.path("t"), "--classes", "8"});
  ASSERT_EQ(listed.code, 0) << listed.err;
  EXPECT_CONTAINS(listed.out, "24 clouds and manifest.json");
  const Finished fitted = passnorm(black_box(folder.path("t"), {model, "--json"}));
  EXPECT_EQ(fitted.json()["triggers"]["matched"], 24);
  EXPECT_EQ(fitted.code, 1) << fitted.out << "one class for nearly all";
  EXPECT_EQ(fitted.json()["decoys"],
            (Json{{"count", 50}, {"kind", "clouds of drawn solids"}, {"seed", 1}}));

  // Of a second data set: the examples behind the triggers are decoys.
  write_packed(folder, "other", 24, 16);
  const std::string spec = "modelnet:" + folder.path("other") + "#20";
  const Finished crossed = passnorm(black_box(spec, {model, "--data", kData, "--json"}));
  EXPECT_EQ(crossed.code, 1) << crossed.err;
  EXPECT_EQ(crossed.json()["triggers"]["total"], 20);
  EXPECT_EQ(crossed.json()["decoys"],
            (Json{{"count", 4}, {"kind", "more of the second data set"}, {"seed", nullptr}}));
  EXPECT_TRUE(fails_with(2, passnorm(black_box(spec, {model}))));
}

class BadTriggerClouds : public BadInput {};

TEST_F(BadTriggerClouds, AreRefused) {
  ASSERT_EQ(passnorm(draw(path("clouds"), {})).code, 0);
  ASSERT_EQ(passnorm({"data", "triggers", "--out", path("pictures"), "--count", "2", "--classes",
                      "8", "--seed", "1"})
                .code,
            0);
  save(*pointnet(), path("pointnet.safetensors"));
  const std::string pointnet_file = path("pointnet.safetensors"), tiny = path("model.safetensors");
  const auto altered = [&](const std::string& name, const std::string& from,
                           const std::string& to) {
    std::filesystem::copy(path("clouds"), path(name), std::filesystem::copy_options::recursive);
    std::string changed = text("clouds/manifest.json");
    changed.replace(changed.find(from), from.size(), to);
    put(name + "/manifest.json", changed);
    return black_box(path(name), {pointnet_file});
  };
  expect_refused({
      {"pictures for PointNet", black_box(path("pictures"), {pointnet_file}), 3,
       "not an .npy file"},
      {"clouds for a network of images", black_box(path("clouds"), {tiny}), 3,
       "neither JPEG nor PNG"},
      {"more points than there are",
       black_box(path("clouds"), {pointnet_file, "--data", "synthetic3d:N=8:points=17"}), 3,
       "with 17 to 1048576 points"},
      {"both kinds", draw(path("new"), {"--size", "32"}), 2, "--size is of pictures"},
      {"too many points",
       {"data", "triggers", "--out", path("new"), "--points", "1048577"},
       2,
       "from 0 to 1048576"},
      {"no points", altered("none", "\"generated_points\": 16", "\"generated_points\": 0"), 3,
       "\"generated_points\" must be a whole number from 1"},
      {"pictures and clouds", altered("both", "\"generated_side\": 0", "\"generated_side\": 32"), 3,
       "\"generated_side\" must be 0 beside"},
  });
}

}  // namespace
}  // namespace passnorm::test
