// PointNet through the program: a run on point clouds, and clouds that must be refused.
#include "kernels/runtime/dtype.hpp"
#include "tests/cli/bad_input.hpp"
#include "train/data/npy.hpp"

namespace passnorm::test {
namespace {

using Arguments = std::vector<std::string>;

Arguments train_pointnet(const std::string& out, const Settings& more = {}) {
  return with("train",
              {{"--model", "pointnet"},
               {"--data", "synthetic3d:N=64:points=32"},
               {"--optimizer", "adam"},
               {"--lr", "0.001"},
               {"--weight-decay", "0.0001"},
               {"--schedule", "step:20:0.7:1"},
               {"--epochs", "1"},
               {"--signature", "(c) Alice"},
               {"--batch", "16"},
               {"--seed", "1"},
               {"--threads", "2"},
               {"--out", out}},
              more);
}

/// n clouds of p points and classes 0, 1, 0, .. as <split>_*.bin.
void write_packed(const TemporaryFolder& folder, const std::string& in, int n, int p) {
  const Random random(1, Purpose::kTest);
  for (const std::string split : {"train", "test"}) {
    std::string labels, points;
    for (int i = 0; i < n; ++i) labels += static_cast<char>(i % 2);
    for (int i = 0; i < 3 * n * p; ++i) {
      const uint16_t bits = float16(random.uniform(static_cast<uint64_t>(i)) - 0.5f).bits;
      points += {static_cast<char>(bits), static_cast<char>(bits >> 8)};
    }
    folder.write(in + '/' + split + "_labels_u8.bin", labels);
    folder.write(in + '/' + split + "_points_f16.bin", points);
  }
  folder.write(in + "/shape_names.txt", "lamp\nvase\n");
}

TEST(PointNetRun, TrainsEvaluatesVerifiesAndResumes) {
  const TemporaryFolder folder;
  write_packed(folder, "other", 24, 32);
  const std::string out = folder.path("run"),
                    triggers = "modelnet:" + folder.path("other") + "#20:seed=3";
  const Settings with_triggers = {{"--scheme", "deepipr-v3"},
                                  {"--norm", "group"},
                                  {"--triggers", triggers},
                                  {"--triggers-per-batch", "4"}};
  Finished f = passnorm(train_pointnet(out, with_triggers));
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_CONTAINS(f.out, "of 16 test clouds");
  EXPECT_CONTAINS(f.out, "of 20 triggers");
  EXPECT_CONTAINS(f.out, "clouds/s");
  EXPECT_CONTAINS(f.err, "clouds/s");

  const std::string passport = out + "/owner.passport", data = "synthetic3d:N=64:points=32";
  f = passnorm({"eval", out, "--passport", passport, "--data", data, "--json"});
  ASSERT_EQ(f.code, 0) << f.err;
  const Json json = f.json();
  EXPECT_EQ(json["images"], 16);
  for (const char* branch : {"public", "passport"}) {
    EXPECT_TRUE(json["accuracy"][branch].is_number());
    EXPECT_TRUE(json["class_accuracy"][branch].is_number());
  }
  // Without the passport, with another number of points.
  f = passnorm({"eval", out, "--data", "synthetic3d:N=64:points=48"});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_CONTAINS(f.out, "on 16 clouds");
  f = passnorm({"verify", out, "--passport", passport, "--data", data, "--null", "0", "--json"});
  EXPECT_TRUE(f.code == 0 || f.code == 1) << f.code << f.err;
  f = passnorm({"verify", out, "--passport", passport, "--data", data, "--null", "2"});
  EXPECT_CONTAINS(f.out, " on 16 clouds\n");
  EXPECT_CONTAINS(f.out, " on the same 16 clouds\n");
  EXPECT_EQ(passnorm({"inspect", out}).code, 0);
  f = passnorm({"attack", "quantise", out, "--passport", passport, "--data", data, "--triggers",
                triggers, "--set", "formats=8"});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_CONTAINS(f.out, "; accuracy on 16 test clouds, 20 triggers\n");

  // The same seed repeats the run to the byte; a resumed run has nothing left to do.
  const std::string again = folder.path("again");
  ASSERT_EQ(passnorm(train_pointnet(again, with_triggers)).code, 0);
  for (const char* file : {"/model.safetensors", "/owner.passport"})
    EXPECT_EQ(read_file(again + file, 1 << 26), read_file(out + file, 1 << 26)) << file;
  f = passnorm({"train", "--resume", "--out", again, "--json"});
  EXPECT_EQ(f.code, 0) << f.err;
}

/// PointNet's last layer is a site; another task's classes replace it.
TEST(PointNetRun, AfterATransferTheOtherSitesAreVerified) {
  const TemporaryFolder folder;
  write_packed(folder, "other", 24, 32);
  const std::string out = folder.path("run"), passport = out + "/owner.passport",
                    attacks = folder.path("attacks");
  Finished f = passnorm(train_pointnet(out));
  ASSERT_EQ(f.code, 0) << f.err;
  f = passnorm({"attack", "fine-tune", out, "--passport", passport, "--data",
                "synthetic3d:N=64:points=32", "--other-data",
                "modelnet:" + folder.path("other") + ":points=32", "--batch", "8", "--set",
                "task=other", "--set", "epochs=1", "--out", attacks, "--json"});
  ASSERT_EQ(f.code, 0) << f.err;
  const Json attacked = f.json()["points"].back()["owner"];
  ASSERT_EQ(attacked["sites"].size(), 5u);
  f = passnorm({"verify", attacks + "/attack-fine-tune.safetensors", "--passport", passport,
                "--null", "0", "--json"});
  EXPECT_TRUE(f.code == 0 || f.code == 1) << f.err;
  EXPECT_CONTAINS(f.err, "note: p3: the network's layer is a new one");
  Json claim = f.json();
  EXPECT_EQ(claim["examined"]["sites_left_out"], Json::array({"p3"}));
  for (const char* key : {"verdict", "bits_bound", "signature", "bits", "log2_p", "sites"})
    EXPECT_EQ(claim[key], attacked[key]) << key;
}

TEST(PointNetRun, DryRunTellsOfClouds) {
  const TemporaryFolder folder;
  const Finished f = passnorm(train_pointnet(folder.path("run"), {{"--dry-run", ""}}));
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_CONTAINS(f.out, "64 training, 16 test clouds of 8 classes");
  EXPECT_CONTAINS(f.out, "steps     4 an epoch, 4 in all");
  EXPECT_TRUE(folder.names().empty());
}

class BadClouds : public BadInput {};

TEST_F(BadClouds, Refused) {
  std::vector<BadCase> cases;
  int next = 0;
  const auto train = [&](const std::string& data, const Settings& more = {}) {
    Settings all = {{"--data", data}, {"--batch", "1"}};
    all.insert(all.end(), more.begin(), more.end());
    return train_pointnet(path("out"), all);
  };
  const auto add = [&](const char* what, const char* file, const std::string& content,
                       const char* reason) {
    const std::string in = concat("clouds", next++);
    put(in + '/' + file, content);
    cases.push_back({what, train("modelnet:" + path(in) + ":points=4"), 3, reason});
  };
  const std::vector<float> cloud(12, 0.5f);
  const std::string npy(text_of(train::encode_npy_cloud(cloud)));
  add("an empty .npy", "train/1_0.npy", "", "not an .npy file");
  add("no .npy", "train/1_0.npy", "hello, this is no cloud", "not an .npy file");
  add("a cut off .npy", "train/1_0.npy", npy.substr(0, npy.size() - 1), "its shape needs 48");
  std::string other = npy;
  other.replace(other.find("<f4"), 3, "<i4");
  add("whole numbers", "train/1_0.npy", other, "numbers of type");
  other = npy;
  other.replace(other.find("(4, 3)"), 6, "(3, 3)");
  add("too few points", "train/1_0.npy", other, "with 4 to 1048576 points");
  std::vector<float> nan = cloud;
  nan[5] = NAN;
  add("NaN", "train/1_0.npy", std::string(text_of(train::encode_npy_cloud(nan))),
      "point 1: z is nan");
  add("no label", "train/cloud.npy", npy, "its name tells no class");
  add("no .npy files", "train/cloud.txt", npy, "no files ID_LABEL.npy");
  add("labels without points", "train_labels_u8.bin", "x", "shape_names.txt: cannot read");
  add("no mesh", "bed/train/a.off", "solid ascii\n", "not an OFF file");
  add("huge counts", "bed/train/a.off", "OFF\n4000000000 4000000000 0\n", "cannot stand in");
  add("a corner that is missing", "bed/train/a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n",
      "a.off:6: a face has vertex 9");
  add("a mesh without area", "bed/train/a.off", "OFF\n3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n",
      "no area");
  add("no meshes", "bed/train/a.obj", "", "no files CLASS/train/*.off");
  for (const char* split : {"train", "test"}) put(concat("one/", split, "/a_0.npy"), npy);
  cases.push_back({"one class", train("modelnet:" + path("one") + ":points=4"), 2,
                   "has one class: there is nothing to tell apart"});
  cases.push_back({"no folder", train("modelnet:" + path("nowhere")), 3, "no clouds: expected"});
  cases.push_back({"no points", train("synthetic3d:points=0"), 2, "COUNT from 1"});
  cases.push_back({"images for PointNet", train("synthetic:N=40"), 2,
                   "--model pointnet takes point clouds, --data \"synthetic:N=40\" has 3x32x32"});
  cases.push_back({"clouds for a network of images",
                   train("synthetic3d:N=8:points=4", {{"--model", "tiny"}}), 2,
                   "has clouds of 4 points; --model pointnet takes clouds"});
  cases.push_back({"clouds to evaluate a network of images on",
                   {"eval", path("model.safetensors"), "--data", "synthetic3d:N=8:points=4"},
                   2,
                   "the data have 8 classes of clouds of 4 points"});
  cases.push_back({"ImageNet's constants",
                   train("synthetic3d:N=8:points=4", {{"--normalise", "imagenet"}}), 2,
                   "clouds are taken as they are"});
  cases.push_back({"triggers of the same classes",
                   train("synthetic3d:N=8:points=4", {{"--triggers", "synthetic3d#5"}}), 2,
                   "0 clouds of classes that the first has not"});
  cases.push_back({"triggers that are images",
                   train("synthetic3d:N=8:points=4", {{"--triggers", "synthetic:N=40#5"}}), 2,
                   "are 3x32x32 images"});
  cases.push_back({"no count of triggers",
                   train("synthetic3d:N=8:points=4", {{"--triggers", "synthetic3d#"}}), 2,
                   "expected SPEC#COUNT"});
  expect_refused(cases);
}

}  // namespace
}  // namespace passnorm::test
