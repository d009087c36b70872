// Sets whose labels could not be chosen: that they follow from the secret and every picture, and
// that nothing else passes for them.
#include "train/data/trigger_binding.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/support/files.hpp"
#include "tests/support/images.hpp"
#include "train/data/image_file.hpp"
#include "train/data/synthetic.hpp"
#include "train/data/trigger_pictures.hpp"

namespace passnorm::train {
namespace {

using test::refusal;
using test::TemporaryFolder;

TriggerOwner owner(uint64_t n = 1, std::string signature = "(c) Alice") {
  return {Secret32(hash256("passnorm test secret", {n})), std::move(signature)};
}

/// A list whose pictures have the hashes of these numbers.
TriggerManifest list_of(std::vector<int> pictures) {
  TriggerManifest manifest;
  for (const int p : pictures)
    manifest.images.push_back({std::to_string(p), 0, sha256(bytes_of(std::to_string(p)))});
  return manifest;
}

std::vector<int32_t> labels(const TriggerManifest& manifest) {
  std::vector<int32_t> out;
  for (const Trigger& t : manifest.images) out.push_back(t.label);
  return out;
}

std::vector<int32_t> bound_labels(TriggerManifest manifest, const TriggerOwner& by,
                                  int64_t classes) {
  bind_labels(manifest, by, classes);
  return labels(manifest);
}

std::vector<int> numbers(int n, int first = 0) {
  std::vector<int> out;
  for (int i = 0; i < n; ++i) out.push_back(first + i);
  return out;
}

/// Computed from the formulas of trigger_binding.hpp by Python's hashlib.blake2b.
TEST(BoundLabels, FollowTheFormulas) {
  TriggerManifest manifest = list_of(numbers(12));
  std::vector<uint8_t> secret;
  for (uint8_t i = 0; i < 32; ++i) secret.push_back(i);
  const TriggerOwner by{Secret32(std::span<const uint8_t, 32>(secret.data(), 32)), "(c) Alice"};
  bind_labels(manifest, by, 10);
  EXPECT_EQ(labels(manifest), (std::vector<int32_t>{7, 1, 3, 3, 8, 9, 0, 5, 3, 9, 2, 0}));
  EXPECT_EQ(to_hex(manifest.bound->commitment),
            "3e16edb69f5c29df63edc349222f58053875c30aef19f8657160f6f45cad8fbb");
}

TEST(BoundLabels, ChangeWithEverything) {
  const auto original = bound_labels(list_of(numbers(200)), owner(), 10);
  EXPECT_EQ(bound_labels(list_of(numbers(200)), owner(), 10), original);
  std::vector<int> other = numbers(200), swapped = numbers(200);
  other[199] = 1000;
  std::swap(swapped[0], swapped[1]);
  const std::vector<int32_t> changed[] = {
      bound_labels(list_of(numbers(200)), owner(2), 10),
      bound_labels(list_of(numbers(200)), owner(1, "(c) Mallory"), 10),
      bound_labels(list_of(other), owner(), 10),
      bound_labels(list_of(swapped), owner(), 10),
      bound_labels(list_of(numbers(201)), owner(), 10),
  };
  for (const auto& with : changed) {
    // Of 200 uniform labels 20 are the same by chance; 50 are 7 standard deviations more.
    int64_t same = 0;
    for (size_t i = 0; i < 200; ++i) same += with[i] == original[i];
    EXPECT_LT(same, 50);
  }
  // More classes are another draw, not the same one with another remainder.
  EXPECT_NE(bound_labels(list_of(numbers(200)), owner(), 20), original);
}

TEST(BoundLabels, AreUniform) {
  for (const int64_t classes : {2, 7, 10}) {
    std::vector<int64_t> counts(static_cast<size_t>(classes));
    for (const int32_t y : bound_labels(list_of(numbers(7000)), owner(), classes))
      ++counts.at(static_cast<size_t>(y));
    const double share = 7000.0 / static_cast<double>(classes);
    for (const int64_t n : counts)
      EXPECT_NEAR(static_cast<double>(n), share, 5 * std::sqrt(share)) << classes;
  }
}

TEST(TriggerPictures, FollowTheKey) {
  const Secret32 key(hash256("passnorm test secret", {uint64_t{1}}));
  const Picture picture = draw_trigger(key, 0, 32);
  EXPECT_EQ(picture.size, (ImageSize{32, 32}));
  ASSERT_EQ(picture.rgb.size(), 3u * 32 * 32);
  EXPECT_EQ(draw_trigger(key, 0, 32), picture);
  EXPECT_NE(draw_trigger(key, 1, 32), picture);
  EXPECT_NE(draw_trigger(Secret32(hash256("passnorm test secret", {uint64_t{2}})), 0, 32), picture);
  // Computed from trigger_noise.hpp by Python, with its hashlib.
  EXPECT_EQ(to_hex(sha256(std::as_bytes(std::span(picture.rgb)))),
            "0c48ffed8714bf1a4eeb1f78db775f3c704f02fa165e63a67d3091630b203148");

  // The formula in floating point, at the lattice's points and between them.
  const auto words = keyed_stream_u32(key, "passnorm trigger picture v1", "0", 3 * (9 + 25 + 81));
  for (const int64_t side : {32, 19}) {
    const Picture drawn = draw_trigger(key, 0, side);
    for (int64_t c = 0; c < 3; ++c)
      for (int64_t y = 0; y < side; ++y)
        for (int64_t x = 0; x < side; ++x) {
          double sum = 0;
          size_t at = static_cast<size_t>(c) * (9 + 25 + 81);
          for (const int cells : {2, 4, 8}) {
            const double weight = 8.0 / cells;
            const auto value = [&](double row, double column) {
              return static_cast<double>(
                  words[at + static_cast<size_t>(row * (cells + 1) + column)] >> 24);
            };
            const double v = static_cast<double>(y * cells) / static_cast<double>(side),
                         u = static_cast<double>(x * cells) / static_cast<double>(side);
            const double i = std::floor(v), j = std::floor(u);
            const auto smooth = [](double t) { return t * t * (3 - 2 * t); };
            const double a = smooth(v - i), b = smooth(u - j);
            sum += weight * ((1 - a) * ((1 - b) * value(i, j) + b * value(i, j + 1)) +
                             a * ((1 - b) * value(i + 1, j) + b * value(i + 1, j + 1)));
            at += static_cast<size_t>((cells + 1) * (cells + 1));
          }
          const double expected = std::clamp(128 + 2 * (sum / 7 - 128), 0.0, 255.0);
          EXPECT_NEAR(drawn.rgb[static_cast<size_t>(3 * (side * y + x) + c)], expected, 8)
              << side << ": " << c << "," << y << "," << x;
        }
  }
}

TEST(TriggerPictures, Png) {
  const Secret32 key(hash256("passnorm test secret", {uint64_t{1}}));
  for (const int64_t side : {8, 32, 100}) {
    const Picture picture = draw_trigger(key, 3, side);
    const std::vector<std::byte> file = encode_png(picture);
    EXPECT_EQ(decode_image("p", file), picture);
    EXPECT_EQ(encode_png(picture), file);
  }
  const Picture wide = test::pattern({3, 200});
  EXPECT_EQ(decode_image("p", encode_png(wide)), wide);
  // What cannot be compressed: noise.
  Picture noise{{300, 300}, {}};
  const auto words = keyed_stream_u32(key, "noise", "", 3 * 300 * 300);
  for (const uint32_t word : words) noise.rgb.push_back(static_cast<uint8_t>(word));
  EXPECT_EQ(decode_image("p", encode_png(noise)), noise);
  refusal(Fault::kBug, [] { encode_png({{2, 2}, std::vector<uint8_t>(11)}); });
  refusal(Fault::kBug, [] { encode_png({{0, 2}, {}}); });
}

TEST(TriggerPictures, Decoys) {
  const Dataset like = synthetic({}, Split::kTest, 1);
  const Dataset a = decoy_triggers(1, 5, 32, like);
  EXPECT_EQ(a.n, 5);
  EXPECT_EQ(a.images.size(), 5u * 3 * 32 * 32);
  EXPECT_EQ(a.labels.size(), 5u);
  EXPECT_EQ(a.classes, like.classes);
  EXPECT_EQ(a.mean, like.mean);
  EXPECT_EQ(decoy_triggers(1, 5, 32, like).images, a.images);
  EXPECT_NE(decoy_triggers(2, 5, 32, like).images, a.images);
  EXPECT_EQ(decoy_triggers(1, 5, 40, like).images.size(), a.images.size());
}

std::string bytes_at(const std::string& path) {
  return std::string(text_of(read_file(path, 1 << 20)));
}

TEST(GeneratedTriggers, AreAFunctionOfTheOwner) {
  const TemporaryFolder folder;
  const GenerateOptions options{.count = 12, .classes = 10, .side = 16};
  const auto first = generate_triggers(folder.path("a"), owner(), options),
             second = generate_triggers(folder.path("b"), owner(), options),
             other = generate_triggers(folder.path("c"), owner(1, "(c) Bob"), options);
  EXPECT_EQ(first, second);
  EXPECT_EQ(bytes_at(folder.path("a/manifest.json")), bytes_at(folder.path("b/manifest.json")));
  std::set<std::string> pictures;
  for (size_t i = 0; i < 12; ++i) {
    const std::string file = first.images[i].file;
    EXPECT_EQ(bytes_at(folder.path("a/" + file)), bytes_at(folder.path("b/" + file)));
    EXPECT_EQ(sha256(bytes_of(bytes_at(folder.path("a/" + file)))), first.images[i].sha256);
    pictures.insert(bytes_at(folder.path("a/" + file)));
    pictures.insert(bytes_at(folder.path("c/" + file)));
  }
  EXPECT_EQ(pictures.size(), 24u);
  EXPECT_NE(labels(first), labels(other));
  EXPECT_EQ(first.images[7].file, "pics/0007.png");
  ASSERT_TRUE(first.bound);
  EXPECT_EQ(first.bound->classes, 10);
  EXPECT_EQ(first.bound->generated_side, 16);

  // What is read for training is what was drawn.
  Dataset like = synthetic({}, Split::kTest, 1);
  like.h = like.w = 16;
  const Dataset set = trigger_set(folder.path("a"), like);
  EXPECT_EQ(set.n, 12);
  EXPECT_EQ(set.labels, labels(first));
  // Nothing in the folder tells the secret, nor is it found under other options.
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"a", "b", "c"}));
  const auto wide = generate_triggers(folder.path("d"), owner(), {.count = 12, .side = 24});
  EXPECT_NE(labels(wide), labels(first));

  EXPECT_CONTAINS(
      refusal(Fault::kInput, [&] { generate_triggers(folder.path("a"), owner(), options); }),
      "a: is not empty; triggers need a folder of their own");
}

TEST(Bound, OnlyWhatFollowsFromTheSecret) {
  const TemporaryFolder folder;
  const std::string set = folder.path("t");
  generate_triggers(set, owner(), {.count = 9, .side = 16});
  EXPECT_EQ(why_unbound(set, 10, owner()), "");
  EXPECT_EQ(why_unbound(set, 0, owner()), "");
  EXPECT_EQ(why_unbound(set, 100, owner()), "");
  EXPECT_CONTAINS(why_unbound(set, 10, owner(2)), "the owner's file is that of another set");
  EXPECT_CONTAINS(why_unbound(set, 10, owner(1, "(c) Mallory")), "of another set");

  const std::string text = bytes_at(set + "/manifest.json");
  const auto with = [&](const std::function<void(TriggerManifest&)>& change) {
    TriggerManifest manifest = parse_trigger_manifest("m", text, 10);
    change(manifest);
    write_manifest(set, manifest);
    return why_unbound(set, 10, owner());
  };
  EXPECT_EQ(with([](TriggerManifest&) {}), "");
  EXPECT_CONTAINS(
      with([](TriggerManifest& m) { m.images[4].label = (m.images[4].label + 1) % 10; }),
      "the label of \"pics/0004.png\" does not follow from the secret");
  EXPECT_CONTAINS(with([](TriggerManifest& m) { m.images.pop_back(); }), "does not follow");
  EXPECT_CONTAINS(with([](TriggerManifest& m) { m.bound.reset(); }), "the set does not say");
  EXPECT_CONTAINS(with([](TriggerManifest& m) { m.bound->classes = 9; }), "does not follow");
  EXPECT_CONTAINS(with([](TriggerManifest& m) { m.bound->commitment[0] ^= 1; }), "another set");
  // A thief's own pictures with labels from the true owner's secret, said to be generated.
  const auto theirs = encode_png(test::pattern({16, 16}));
  write_file_atomic(set + "/pics/0002.png", theirs);
  EXPECT_CONTAINS(with([&](TriggerManifest& m) {
                    m.images[2].sha256 = sha256(theirs);
                    bind_labels(m, owner(), 10, {.side = 16});
                  }),
                  "the picture \"pics/0002.png\" does not follow from the secret");
  // The same pictures in a set that claims no more than its labels.
  EXPECT_EQ(with([&](TriggerManifest& m) {
              m.images[2].sha256 = sha256(theirs);
              bind_labels(m, owner(), 10);
            }),
            "");
}

TEST(Bound, PicturesOfOthers) {
  const TemporaryFolder folder;
  for (int i = 0; i < 20; ++i)
    folder.write("t/pics/" + std::to_string(i) + ".png",
                 test::png_file({{4, 4}, std::vector<uint8_t>(48, static_cast<uint8_t>(i))}));
  const std::string set = folder.path("t");
  const TriggerManifest manifest = bind_triggers(set, owner(), 10);
  EXPECT_EQ(manifest.images.size(), 20u);
  EXPECT_EQ(manifest.images[10].file, "pics/10.png");
  EXPECT_EQ(manifest.bound->generated_side, 0);
  EXPECT_EQ(why_unbound(set, 10, owner()), "");
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { bind_triggers(set, owner(2), 10); }),
                  "has a manifest.json already");
  // The same pictures under free labels.
  std::filesystem::remove(folder.path("t/manifest.json"));
  std::string free;
  for (int i = 0; i < 20; ++i) free += std::to_string(i % 10) + "\n";
  folder.write("t/labels-cifar.txt", free);
  EXPECT_CONTAINS(why_unbound(set, 10, owner()), "the set does not say");
  EXPECT_FALSE(write_trigger_manifest(set, 10).bound);
  EXPECT_CONTAINS(why_unbound(set, 10, owner()), "the set does not say");
  EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { read_triggers(set, 0); }), "--classes is needed");
  std::filesystem::create_directories(folder.path("empty/pics"));
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { bind_triggers(folder.path("empty"), owner(), 10); }),
                  "empty: 0 files in pics/, or clouds/ where there is none; expected 1 to 100000");
}

TEST(TriggerOwner, SavedAndLoaded) {
  const TemporaryFolder folder;
  const TriggerOwner alice = owner(5, "(c) \xc3\x84lice");
  alice.save(folder.path("a"));
  struct stat s {};
  ASSERT_EQ(::stat(folder.path("a").c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777u, 0600u);
  const TriggerOwner loaded = TriggerOwner::load(folder.path("a"));
  EXPECT_EQ(loaded.secret, alice.secret);
  EXPECT_EQ(loaded.signature, alice.signature);
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { owner(6).save(folder.path("a")); }),
                  "a: exists already; a secret is not written over");
  EXPECT_EQ(TriggerOwner::load(folder.path("a")).secret, alice.secret);

  const SecretText phrase("open sesame");
  alice.save(folder.path("sealed"), &phrase, kLeastSealCost);
  EXPECT_EQ(bytes_at(folder.path("sealed")).find("lice"), std::string::npos);
  const auto ask = [&](const std::string&) { return phrase; };
  EXPECT_EQ(TriggerOwner::load(folder.path("sealed"), ask).secret, alice.secret);
  refusal(Fault::kSecret, [&] { TriggerOwner::load(folder.path("sealed")); });
  refusal(Fault::kSecret, [&] {
    TriggerOwner::load(folder.path("sealed"),
                       [](const std::string&) { return SecretText("guess"); });
  });

  std::filesystem::permissions(folder.path("a"), std::filesystem::perms(0640));
  EXPECT_CONTAINS(refusal(Fault::kSecret, [&] { TriggerOwner::load(folder.path("a")); }),
                  "chmod 600");
  const auto refused = [&](std::span<const TensorEntry> tensors, const Metadata& metadata,
                           const char* reason) {
    EXPECT_CONTAINS(
        refusal(Fault::kInput,
                [&] { TriggerOwner::parse("f", safetensors_secret_bytes(tensors, metadata)); }),
        reason);
  };
  const Metadata right = {{"format", "passnorm.trigger-owner/1"}, {"signature", ""}};
  const std::vector<uint8_t> long_enough(32), too_long(33);
  const TensorEntry secret{"secret", {32}, std::span(long_enough)},
      wrong{"secret", {33}, std::span(too_long)}, other{"seed", {32}, std::span(long_enough)};
  refused({&secret, 1}, {}, "f: not the owner's file of a trigger set: its metadata has no");
  refused({&secret, 1}, {{"format", "passnorm.passport/1"}}, "is a \"passnorm.passport/1\" file");
  refused({&secret, 1}, {{"format", "passnorm.trigger-owner/1"}}, "has no \"signature\"");
  refused({&wrong, 1}, right, "expected one tensor, \"secret\", of 32 bytes");
  refused({&other, 1}, right, "expected one tensor, \"secret\"");
  const TensorEntry two[] = {secret, other};
  refused(two, right, "expected one tensor, \"secret\"");
  refused({}, right, "expected one tensor, \"secret\"");
  refusal(Fault::kInput, [&] { TriggerOwner::load(folder.path("none")); });
}

}  // namespace
}  // namespace passnorm::train
