// Trigger clouds that follow from a secret, sets of them, and decoys of every kind of triggers.
#include <algorithm>
#include <cmath>

#include "tests/support/files.hpp"
#include "train/data/cross_domain.hpp"
#include "train/data/decoys.hpp"
#include "train/data/npy.hpp"
#include "train/data/synthetic3d.hpp"
#include "train/data/trigger_binding.hpp"
#include "train/data/trigger_clouds.hpp"
#include "train/data/trigger_pictures.hpp"

namespace passnorm::train {
namespace {

using test::refusal;
using test::TemporaryFolder;

Secret32 secret(uint64_t n) { return Secret32(hash256("passnorm test secret", {n})); }
TriggerOwner owner(uint64_t n = 1) { return {secret(n), "(c) Alice"}; }

/// What networks of clouds take; 0 points: as many as there are.
Dataset clouds(int64_t points, std::vector<std::string> class_names = {}) {
  Dataset like;
  like.h = 1;
  like.w = points;
  like.classes = class_names.empty() ? 10 : std::ssize(class_names);
  like.class_names = std::move(class_names);
  return like;
}

/// Computed from the formulas of trigger_clouds.hpp by Python, with its hashlib.
TEST(TriggerClouds, FollowTheFormulas) {
  const std::vector<float> cloud = draw_trigger_cloud(secret(1), 3, 64);
  const int32_t first[] = {422, -5702, 1226,  4888, 9531, -6867,
                           -56, 6321,  -7611, 9224, 1760, -17972};
  for (size_t i = 0; i < std::size(first); ++i)
    EXPECT_EQ(cloud[i] * 32768, static_cast<float>(first[i])) << i;
  EXPECT_EQ(to_hex(sha256(std::as_bytes(std::span(cloud)))),
            "a56465eb16fa61d38a0f3cdd66906ad0ddb16427049442086712c29ca9b33acd");
}

TEST(TriggerClouds, FollowTheKey) {
  const auto cloud = draw_trigger_cloud(secret(1), 0, 200);
  ASSERT_EQ(cloud.size(), 600u);
  EXPECT_EQ(draw_trigger_cloud(secret(1), 0, 200), cloud);
  EXPECT_NE(draw_trigger_cloud(secret(1), 1, 200), cloud);
  EXPECT_NE(draw_trigger_cloud(secret(2), 0, 200), cloud);
  EXPECT_TRUE(std::ranges::equal(draw_trigger_cloud(secret(1), 0, 30), std::span(cloud).first(90)));
  // As wide as a cloud in the unit sphere, and flat: not one place, and not the whole sphere.
  double sum = 0, squares = 0;
  for (const float x : cloud) {
    EXPECT_LE(std::abs(x), 1.0f);
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  const double deviation = std::sqrt(squares / 600 - sum * sum / (600.0 * 600.0));
  EXPECT_GT(deviation, 0.1);
  EXPECT_LT(deviation, 0.6);
  refusal(Fault::kBug, [] { draw_trigger_cloud(secret(1), 0, 0); });
}

TEST(TriggerClouds, SetsFollowFromTheSecret) {
  const TemporaryFolder folder;
  const std::string set = folder.path("t");
  const TriggerManifest manifest =
      generate_triggers(set, owner(), {.count = 9, .classes = 10, .points = 16});
  ASSERT_TRUE(manifest.bound);
  EXPECT_EQ(manifest.bound->generated_side, 0);
  EXPECT_EQ(manifest.bound->generated_points, 16);
  EXPECT_EQ(manifest.images[7].file, "clouds/0007.npy");
  EXPECT_EQ(read_triggers(set, 10), manifest);
  EXPECT_EQ(why_unbound(set, 10, owner()), "");
  EXPECT_CONTAINS(why_unbound(set, 10, owner(2)), "that of another set");

  // What is read for training is what was drawn: all points, or the first.
  const Dataset all = trigger_set(set, clouds(0)), some = trigger_set(set, clouds(12));
  EXPECT_EQ(all.w, 16);
  EXPECT_EQ(some.w, 12);
  ASSERT_EQ(all.n, 9);
  for (int64_t i = 0; i < 9; ++i) {
    EXPECT_TRUE(std::ranges::equal(all.cloud(i).first(36), some.cloud(i)));
    EXPECT_EQ(all.labels[static_cast<size_t>(i)], manifest.images[static_cast<size_t>(i)].label);
  }
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { trigger_set(set, clouds(17)); }), "0000.npy");
  // Another number of points is another set.
  const TriggerManifest longer =
      generate_triggers(folder.path("longer"), owner(), {.count = 9, .classes = 10, .points = 17});
  EXPECT_NE(trigger_set(folder.path("longer"), clouds(12)).points, some.points);

  // A thief's own cloud with a label from the true owner's secret, said to be generated; the same
  // in a set that claims no more than its labels.
  TriggerManifest theirs = manifest;
  const auto file = encode_npy_cloud(std::vector<float>(48, 0.5f));
  write_file_atomic(set + "/clouds/0002.npy", file);
  theirs.images[2].sha256 = sha256(file);
  bind_labels(theirs, owner(), 10, {.points = 16});
  write_manifest(set, theirs);
  EXPECT_CONTAINS(why_unbound(set, 10, owner()),
                  "the cloud \"clouds/0002.npy\" does not follow from the secret");
  bind_labels(theirs, owner(), 10);
  write_manifest(set, theirs);
  EXPECT_EQ(why_unbound(set, 10, owner()), "");
}

TEST(TriggerClouds, OfOthers) {
  const TemporaryFolder folder;
  const auto put = [&](const std::string& name, int64_t points) {
    const std::vector<float> cloud(static_cast<size_t>(3 * points), 0.25f);
    folder.write("t/clouds/" + name, text_of(encode_npy_cloud(cloud)));
  };
  for (const char* name : {"1.npy", "2.npy", "10.npy"}) put(name, 8);
  const std::string set = folder.path("t");
  EXPECT_EQ(list_pictures(set),
            (std::vector<std::string>{"clouds/1.npy", "clouds/2.npy", "clouds/10.npy"}));
  // All alike: that is the same cloud under other names, and no matter.
  const TriggerManifest manifest = bind_triggers(set, owner(), 10);
  EXPECT_EQ(manifest.bound->generated_points, 0);
  EXPECT_EQ(why_unbound(set, 10, owner()), "");
  EXPECT_EQ(trigger_set(set, clouds(0)).w, 8);

  put("10.npy", 9);
  std::filesystem::remove(folder.path("t/manifest.json"));
  bind_triggers(set, owner(), 10);
  EXPECT_EQ(trigger_set(set, clouds(8)).n, 3);
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { trigger_set(set, clouds(0)); }),
                  "10.npy: has 9 points, a trigger before it 8; give --data");
}

/// Shows what networks of images take.
Dataset images() { return {.h = 16, .w = 16, .classes = 10}; }

TEST(Decoys, AreOfTheTriggersKind) {
  const TemporaryFolder folder;
  const TriggerBinding pictures{.classes = 10, .generated_side = 24},
      drawn{.classes = 10, .generated_points = 64}, given{.classes = 10};
  const std::string set = folder.path("t");
  const Decoys of_pictures = decoys_of(set, pictures, images(), 5, 3);
  EXPECT_EQ(of_pictures.kind, "drawn pictures");
  EXPECT_EQ(of_pictures.seed, 3u);
  EXPECT_EQ(of_pictures.set.images, decoy_triggers(3, 5, 24, images()).images);
  for (const auto& bound : {std::optional(given), std::optional<TriggerBinding>()})
    EXPECT_EQ(decoys_of(set, bound, images(), 5, 3).set.images,
              decoy_triggers(3, 5, 16, images()).images);

  const Decoys of_drawn = decoys_of(set, drawn, clouds(32), 5, 3);
  EXPECT_EQ(of_drawn.kind, "drawn clouds");
  EXPECT_EQ(of_drawn.set.w, 32);
  EXPECT_EQ(of_drawn.set.points, decoy_clouds(3, 5, clouds(32)).points);
  EXPECT_NE(of_drawn.set.points, decoys_of(set, drawn, clouds(32), 5, 4).set.points);

  for (const auto& bound : {std::optional(given), std::optional<TriggerBinding>()}) {
    const Decoys of_given = decoys_of(set, bound, clouds(32), 8, 3);
    EXPECT_EQ(of_given.kind, "clouds of drawn solids");
    EXPECT_EQ(of_given.seed, 3u);
    EXPECT_EQ(of_given.set.n, 8);
    EXPECT_EQ(of_given.set.classes, 10);
    EXPECT_EQ(of_given.set.points.size(), 8u * 3 * 32);
    EXPECT_NE(of_given.set.points, decoys_of(set, bound, clouds(32), 8, 4).set.points);
    // No clouds that a network may have been trained or tested on.
    EXPECT_NE(of_given.set.points,
              synthetic3d({.test = 8, .points = 32, .seed = 3}, Split::kTest).points);
  }
}

/// Of a second data set they are the examples behind the triggers, of the same foreign classes.
TEST(Decoys, OfASecondDataSet) {
  const Dataset like = clouds(8, {"lamp", "cube"});
  const std::string triggers = "synthetic3d:N=96#10";  // 24 test clouds, 21 of them no cubes
  const Dataset other = load(parse_data_spec("synthetic3d:N=96:points=8"), Split::kTest);
  std::vector<int64_t> foreign;
  for (int64_t i = 0; i < other.n; ++i)
    if (other.labels[static_cast<size_t>(i)] != 1) foreign.push_back(i);
  ASSERT_EQ(foreign.size(), 21u);
  const Dataset set = trigger_set(triggers, like);
  EXPECT_EQ(set.points, other.select(std::span(foreign).first(10)).points);
  for (const int64_t most : {4, 11, 100}) {
    const Decoys decoys = decoys_of(triggers, {}, like, most, 1);
    EXPECT_EQ(decoys.kind, "more of the second data set");
    EXPECT_FALSE(decoys.seed) << "they follow from the data set";
    const int64_t count = std::min<int64_t>(most, 11);
    ASSERT_EQ(decoys.set.n, count);
    EXPECT_EQ(decoys.set.points,
              other.select(std::span(foreign).subspan(10, static_cast<size_t>(count))).points);
    EXPECT_EQ(decoys.set.classes, 2);
    EXPECT_EQ(decoys.set.labels, std::vector<int32_t>(static_cast<size_t>(count)));
  }
  EXPECT_EQ(decoys_of("synthetic3d:N=96#21", {}, like, 5, 1).set.n, 0);
}

}  // namespace
}  // namespace passnorm::train
