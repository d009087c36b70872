#include <sys/stat.h>

#include <cstdlib>

#include "tests/support/files.hpp"
#include "tests/support/images.hpp"
#include "train/data/synthetic.hpp"
#include "train/data/trigger_set.hpp"

namespace passnorm::train {
namespace {

using test::refusal;
using test::TemporaryFolder;

/// A picture of one colour, different for each i.
std::string picture(int i) {
  return test::png_file({{32, 32}, std::vector<uint8_t>(3 * 32 * 32, static_cast<uint8_t>(i))});
}

std::string hash_of(std::string_view file) { return to_hex(sha256(bytes_of(file))); }

std::string entry(const std::string& file, const std::string& label, const std::string& hash) {
  return R"({"file": ")" + file + R"(", "label": )" + label + R"(, "sha256": ")" + hash + "\"}";
}

/// Of a manifest whose labels are bound.
std::string bound(const std::string& binding, const std::string& images) {
  return R"({"format": "passnorm.triggers/1", "bound": )" + binding + R"(, "images": [)" + images +
         "]}";
}

std::string manifest(const std::string& images) {
  return R"({"format": "passnorm.triggers/1", "images": [)" + images + "]}";
}

const Dataset& like() {
  static const Dataset set = synthetic({}, Split::kTest, 1);
  return set;
}

TEST(TriggerSet, FromAManifest) {
  const TemporaryFolder folder;
  folder.write("b.png", picture(7));
  folder.write("deep/er/a.png", picture(9));
  folder.write("manifest.json", manifest(entry("deep/er/a.png", "4", hash_of(picture(9))) + "," +
                                         entry("b.png", "0", hash_of(picture(7)))));
  const Dataset set = trigger_set(folder.path(), like());
  EXPECT_EQ(set.n, 2);
  EXPECT_EQ(set.labels, (std::vector<int32_t>{4, 0}));
  EXPECT_EQ(set.classes, 10);
  EXPECT_EQ(set.class_names, like().class_names);
  EXPECT_EQ(set.mean, like().mean);
  EXPECT_EQ(set.stddev, like().stddev);
  ASSERT_EQ(set.images.size(), 2u * 3 * 32 * 32);
  EXPECT_EQ(set.image(0).front(), 9);
  EXPECT_EQ(set.image(1).back(), 7);
}

TEST(TriggerSet, PlanesOfTheMiddle) {
  const TemporaryFolder folder;
  const Picture whole = test::pattern({9, 12});
  folder.write("x", test::png_file(whole));
  folder.write("manifest.json", manifest(entry("x", "1", hash_of(test::png_file(whole)))));
  Dataset small = like();
  small.h = 5;
  small.w = 6;
  const Dataset set = trigger_set(folder.path(), small);
  ASSERT_EQ(set.images.size(), 3u * 5 * 6);
  for (size_t c = 0; c < 3; ++c)
    for (size_t y = 0; y < 5; ++y)
      for (size_t x = 0; x < 6; ++x)
        EXPECT_EQ(set.images[(c * 5 + y) * 6 + x], whole.rgb[3 * (12 * (y + 2) + x + 3) + c]);
}

TEST(TriggerSet, PlainFormPairsInNaturalOrder) {
  const TemporaryFolder folder;
  const char* names[] = {"1.png", "2.png", "9.png", "10.png", "11a.png", "0011b.png", "100.png"};
  std::string labels;
  int i = 0;
  for (const char* name : names) {
    folder.write(std::string("pics/") + name, picture(i));
    labels += std::to_string(i) + (i % 2 ? ".000000000000000000e+00\r\n" : "\n");
    ++i;
  }
  folder.write("pics/.hidden", "not looked at");
  folder.write("labels-cifar.txt", labels);
  const Dataset plain = trigger_set(folder.path(), like());
  ASSERT_EQ(plain.n, 7);
  for (int64_t k = 0; k < plain.n; ++k) {
    EXPECT_EQ(plain.labels[static_cast<size_t>(k)], k);
    EXPECT_EQ(plain.image(k).front(), k) << names[k];
  }

  write_trigger_manifest(folder.path(), 10);
  std::filesystem::remove(folder.path("labels-cifar.txt"));
  const Dataset hashed = trigger_set(folder.path(), like());
  EXPECT_EQ(hashed.images, plain.images);
  EXPECT_EQ(hashed.labels, plain.labels);
}

TEST(TriggerManifest, WhatIsWrittenIsRead) {
  TriggerManifest triggers{.bound = {},
                           .images = {{"a b.png", 3, sha256(bytes_of("a"))},
                                      {"..x/\xc3\xa4.jpg", 0, sha256(bytes_of("b"))}}};
  EXPECT_EQ(parse_trigger_manifest("m", manifest_text(triggers), 4), triggers);
  for (const int64_t side : {0, 8, 32, 1024}) {
    triggers.bound =
        TriggerBinding{.classes = 4, .generated_side = side, .commitment = sha256(bytes_of("c"))};
    EXPECT_EQ(parse_trigger_manifest("m", manifest_text(triggers), 10), triggers);
    EXPECT_EQ(parse_trigger_manifest("m", manifest_text(triggers), 0), triggers);
  }
  triggers.bound =
      TriggerBinding{.classes = 4, .generated_points = 1024, .commitment = sha256(bytes_of("c"))};
  EXPECT_EQ(parse_trigger_manifest("m", manifest_text(triggers), 10), triggers);
}

TEST(TriggerManifest, RefusesInOneLine) {
  const std::string hash(64, 'a'), good = entry("a.png", "1", hash);
  const struct {
    std::string text;
    const char* reason;
  } cases[] = {
      {"", "m.json: not valid JSON"},
      {"[]", "m.json: expected an object, found array"},
      {"{}", "m.json: the key \"format\" is missing"},
      {R"({"format": "passnorm.triggers/1"})", "m.json: the key \"images\" is missing"},
      {R"({"format": "passnorm.triggers/2", "images": []})",
       R"(m.json: is a "passnorm.triggers/2" file; a "passnorm.triggers/1" file was expected)"},
      {R"({"format": 1, "images": []})", "m.json: \"format\" must be a string, not number"},
      {R"({"format": "passnorm.triggers/1", "images": {}})", "\"images\" must be a list of 1 to"},
      {manifest(""), "\"images\" must be a list of 1 to 100000 files"},
      {manifest("").insert(1, "\"x\": 1, "), "m.json: unknown key \"x\""},
      {manifest("3"), "m.json: image 0: expected an object, found number"},
      {manifest(good + ", {}"), "m.json: image 1: the key \"file\" is missing"},
      {manifest(R"({"file": "a", "label": 1})"), "image 0: the key \"sha256\" is missing"},
      {manifest(R"({"file": "a", "sha256": ""})"), "image 0: the key \"label\" is missing"},
      {manifest(std::string(good).insert(1, "\"labels\": 1, ")),
       "image 0: unknown key \"labels\"; did you mean label?"},
      {manifest(std::string(good).insert(1, "\"label\": 1, ")),
       "m.json: key \"label\" stands twice in one object"},
      {manifest(R"({"file": 1, "label": 1, "sha256": ""})"),
       "image 0: \"file\" must be a string, not number"},
      {manifest(R"({"file": "a", "label": 1, "sha256": null})"),
       "image 0: \"sha256\" must be a string, not null"},
      {manifest(entry("a", "1", hash.substr(1))),
       "image 0: \"sha256\": expected 64 hexadecimal digits"},
      {manifest(entry("a", "1", hash.substr(1) + "g")), "expected 64 hexadecimal digits"},
      {manifest(entry("a", "10", hash)), "image 0: \"label\" must be a whole number from 0 to 9"},
      {manifest(entry("a", "-1", hash)), "\"label\" must be a whole number from 0 to 9"},
      {manifest(entry("a", "1.0", hash)), "\"label\" must be a whole number from 0 to 9"},
      {manifest(entry("a", "\"1\"", hash)), "\"label\" must be a whole number from 0 to 9"},
      {manifest(entry("a", "true", hash)), "\"label\" must be a whole number from 0 to 9"},
      {manifest(entry("a", "4294967296", hash)), "\"label\" must be a whole number from 0 to 9"},
      {manifest(entry("a", "18446744073709551616", hash)), "\"label\" must be a whole number"},
      {manifest(good + "," + good), "image 1: \"a.png\" stands twice in the list"},
      {manifest(entry("", "1", hash)), "\"file\" is \"\": it has an empty part"},
      {manifest(entry("a//b", "1", hash)), "\"a//b\": it has an empty part"},
      {manifest(entry("a/", "1", hash)), "\"a/\": it has an empty part"},
      {manifest(entry("/etc/passwd", "1", hash)), "\"/etc/passwd\": it is absolute"},
      {manifest(entry("../a", "1", hash)), "\"../a\": it has the part \".\" or \"..\""},
      {manifest(entry("a/../../b", "1", hash)), "it has the part \".\" or \"..\""},
      {manifest(entry("a/..", "1", hash)), "it has the part \".\" or \"..\""},
      {manifest(entry("./a", "1", hash)), "it has the part \".\" or \"..\""},
      {manifest(entry("a\\u0000b", "1", hash)), "\"a\\x00b\": it has control characters"},
      {manifest(entry("a\\nb", "1", hash)), "\"a\\x0ab\": it has control characters"},
      {manifest(entry("a\\u007f", "1", hash)), "it has control characters"},
  };
  const auto binding = [&](const std::string& classes, const std::string& side) {
    return R"({"classes": )" + classes + R"(, "generated_side": )" + side + R"(, "commitment": ")" +
           hash + "\"}";
  };
  const struct {
    std::string bound;
    const char* reason;
  } bindings[] = {
      {"7", "m.json: \"bound\": expected an object, found number"},
      {"{}", "m.json: \"bound\": the key \"classes\" is missing"},
      {binding("1", "0"), "\"bound\": \"classes\" must be a whole number from 2 to 1048576"},
      {binding("-2", "0"), "\"classes\" must be a whole number"},
      {binding("1048577", "0"), "\"classes\" must be a whole number"},
      {binding("10.0", "0"), "\"classes\" must be a whole number"},
      {binding("10", "7"), "\"generated_side\" must be 0 or at least 8"},
      {binding("10", "1025"), "\"generated_side\" must be a whole number from 0 to 1024"},
      {binding("10", "null"), "\"generated_side\" must be a whole number from 0 to 1024"},
      {binding("10", "0").insert(1, "\"class\": 1, "),
       "\"bound\": unknown key \"class\"; did you mean classes?"},
      {binding("10", "8").insert(1, "\"generated_points\": 16, "),
       "\"generated_side\" must be 0 beside \"generated_points\""},
      {binding("10", "0").insert(1, "\"generated_points\": 0, "),
       "\"generated_points\" must be a whole number from 1 to 1048576"},
      {R"({"classes": 10, "generated_side": 0, "commitment": "aa"})",
       "\"commitment\": expected 64 hexadecimal digits"},
  };
  for (const auto& c : bindings)
    EXPECT_CONTAINS(
        refusal(Fault::kInput, [&] { parse_trigger_manifest("m.json", bound(c.bound, good), 10); }),
        c.reason);
  const std::string three = bound(binding("3", "0"), entry("a", "3", hash));
  EXPECT_EQ(parse_trigger_manifest("m.json", three, 10).images.size(), 1u);
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { parse_trigger_manifest("m.json", three, 0); }),
                  "image 0: \"label\" must be a whole number from 0 to 2");
  EXPECT_CONTAINS(
      refusal(Fault::kUsage, [&] { parse_trigger_manifest("m.json", manifest(good), 0); }),
      "m.json: its labels are free");

  std::string many;
  for (int i = 0; i <= 100'000; ++i) many += i == 0 ? "{}" : ",{}";
  EXPECT_CONTAINS(
      refusal(Fault::kInput, [&] { parse_trigger_manifest("m.json", manifest(many), 10); }),
      "\"images\" must be a list of 1 to 100000 files");
  for (const auto& c : cases)
    EXPECT_CONTAINS(refusal(Fault::kInput, [&] { parse_trigger_manifest("m.json", c.text, 10); }),
                    c.reason);
  EXPECT_EQ(parse_trigger_manifest("m.json", manifest(good), 2).images.size(), 1u);
}

TEST(TriggerSet, RefusesPicturesThatAreNotThoseOfTheManifest) {
  const TemporaryFolder folder;
  folder.write("outside.png", picture(1));
  folder.write("outsider/x.png", picture(1));
  const auto refused = [&](const std::string& images, const char* reason) {
    folder.write("set/manifest.json", manifest(images));
    const std::string message =
        refusal(Fault::kInput, [&] { trigger_set(folder.path("set"), like()); });
    EXPECT_TRUE(message.starts_with(folder.path("set/"))) << message;
    EXPECT_CONTAINS(message, reason);
  };
  const std::string hash = hash_of(picture(1));
  folder.write("set/a.png", picture(1));
  folder.write("set/text.png", "text");
  std::filesystem::create_directories(folder.path("set/folder"));
  std::filesystem::create_symlink("../outside.png", folder.path("set/link.png"));
  std::filesystem::create_symlink(folder.path("outsider"), folder.path("set/linked"));
  // Its name starts with that of the folder.
  std::filesystem::create_directories(folder.path("set2"));
  folder.write("set2/a.png", picture(1));
  std::filesystem::create_symlink("../set2/a.png", folder.path("set/beside.png"));
  std::filesystem::create_symlink("a.png", folder.path("set/again.png"));
  std::filesystem::create_symlink("loop.png", folder.path("set/loop.png"));
  ASSERT_EQ(::mkfifo(folder.path("set/pipe").c_str(), 0600), 0);

  refused(entry("missing.png", "1", hash), "missing.png: cannot read: No such file");
  refused(entry("a.png", "1", hash_of("x")),
          ("a.png: its sha256 is " + hash + ", manifest.json says " + hash_of("x")).c_str());
  refused(entry("text.png", "1", hash_of("text")), "text.png: neither JPEG nor PNG");
  refused(entry("link.png", "1", hash), "link.png: is a link to a file outside the folder");
  refused(entry("linked/x.png", "1", hash), "x.png: is a link to a file outside the folder");
  refused(entry("beside.png", "1", hash), "beside.png: is a link to a file outside the folder");
  refused(entry("a.png", "1", hash) + "," + entry("again.png", "1", hash),
          "again.png: is a link to another file of the trigger set");
  refused(entry("loop.png", "1", hash), "loop.png: cannot read: Too many levels");
  refused(entry("folder", "1", hash), "folder: is not a regular file");
  refused(entry("pipe", "1", hash), "pipe: is not a regular file");  // and does not wait for it
  refused(entry("a.png/b", "1", hash), "b: cannot read: Not a directory");
  refused("", "manifest.json: \"images\" must be a list");

  // A link inside the folder is a way to name a file, and so is a link to the folder.
  folder.write("set/manifest.json", manifest(entry("again.png", "1", hash)));
  std::filesystem::create_directory_symlink("set", folder.path("alias"));
  EXPECT_EQ(trigger_set(folder.path("alias"), like()).n, 1);

  Dataset grey = like();
  grey.channels = 1;
  EXPECT_CONTAINS(refusal(Fault::kUsage, [&] { trigger_set(folder.path("set"), grey); }),
                  "trigger pictures have 3 channels, the images of this data set 1");
}

TEST(TriggerSet, RefusesABrokenPlainForm) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& labels, const char* reason) {
    folder.write("labels-cifar.txt", labels);
    EXPECT_CONTAINS(refusal(Fault::kInput, [&] { trigger_set(folder.path(), like()); }), reason);
  };
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { trigger_set(folder.path(), like()); }),
                  folder.path() + ": no trigger set: expected manifest.json, or labels-cifar.txt");
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { trigger_set(folder.path("no"), like()); }),
                  "no trigger set");
  refused("1\n", "pics: cannot list: No such file");
  std::filesystem::create_directories(folder.path("pics"));
  refused("", "labels-cifar.txt: 0 labels for the 0 files in pics/; expected one each, and at");
  folder.write("pics/1.png", picture(1));
  folder.write("pics/2.png", picture(2));
  refused("", "labels-cifar.txt: 0 labels for the 2 files in pics/");
  refused("1\n", "1 labels for the 2 files");
  refused("1\n2\n3\n", "3 labels for the 2 files");
  refused("1\n\n2\n", "labels-cifar.txt:2: label \"\", expected a whole number from 0 to 9");
  refused("1\n10\n", "labels-cifar.txt:2: label \"10\"");
  refused("-1\n1\n", "labels-cifar.txt:1: label \"-1\"");
  refused("1\n1.5\n", ":2: label \"1.5\"");
  refused("1\nnan\n", ":2: label \"nan\"");
  refused("1\ninf\n", ":2: label \"inf\"");
  refused("1\n1e99\n", ":2: label \"1e99\"");
  refused("1\n1 2\n", ":2: label \"1 2\"");
  refused("1\ncat\x1b\n", ":2: label \"cat\\x1b\"");
  folder.write("pics/2.png", picture(2).substr(0, 50));
  refused("1\n2\n", "2.png: damaged PNG");
}

TEST(TriggerSet, TheRealSet) {
  const char* data = std::getenv("PASSNORM_DATA");
  if (!data) GTEST_SKIP() << "set PASSNORM_DATA to a folder that holds trigger/ of WatermarkNN";
  const Dataset set = trigger_set(std::string(data) + "/trigger", like());
  ASSERT_EQ(set.n, 100);
  EXPECT_EQ(std::vector(set.labels.begin(), set.labels.begin() + 12),
            (std::vector<int32_t>{6, 2, 8, 3, 6, 8, 2, 4, 1, 3, 7, 4}));
  // 1.jpg to 100.jpg, opened by Pillow 13.0.0, convert("RGB"), cropped as torchvision's CenterCrop.
  EXPECT_EQ(to_hex(sha256(std::as_bytes(std::span(set.images)))),
            "411cad511c91d575b971a0ebc2fb9f5db6b4db983d5e1dcb5c69131c25fc8c02");
}

}  // namespace
}  // namespace passnorm::train
