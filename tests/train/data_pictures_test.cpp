// Pictures in a folder per class.
#include "train/data/pictures.hpp"

#include <cstdlib>

#include "engine/io/crypto.hpp"
#include "tests/support/files.hpp"
#include "tests/support/images.hpp"
#include "train/data/cifar.hpp"
#include "train/data/folders.hpp"
#include "train/data/trigger_set.hpp"

namespace passnorm::train {
namespace {

using test::jpeg_file;
using test::pattern;
using test::png_file;
using test::refusal;
using test::TemporaryFolder;
using Numbers = std::vector<int32_t>;

constexpr size_t kPlane = 32 * 32;

/// A picture of one colour, whose red is `number`, 50 less than its green and 100 than its blue.
std::string coloured(int number, ImageSize size = {9, 12}) {
  Picture picture{size, {}};
  for (int64_t i = 0; i < size.h * size.w; ++i)
    for (const int c : {0, 50, 100}) picture.rgb.push_back(static_cast<uint8_t>(number + c));
  return png_file(picture);
}

/// Writes FOLDER/00.png, FOLDER/01.png, .. with these numbers.
void write_class(const TemporaryFolder& root, const std::string& folder, const Numbers& numbers) {
  for (size_t i = 0; i < numbers.size(); ++i)
    root.write(concat(folder, '/', i / 10, i % 10, ".png"), coloured(numbers[i]));
}

/// The numbers of the pictures, in order; each must be of one colour in every plane.
Numbers numbers_of(const Dataset& set) {
  EXPECT_EQ(set.images.size(), 3 * kPlane * static_cast<size_t>(set.n));
  Numbers numbers;
  for (int64_t i = 0; i < set.n; ++i) {
    numbers.push_back(set.image(i).front());
    for (size_t k = 0; k < 3 * kPlane; ++k)
      if (set.image(i)[k] != numbers.back() + 50 * static_cast<int>(k / kPlane)) {
        ADD_FAILURE() << "picture " << i << ", byte " << k << ": " << int{set.image(i)[k]};
        break;
      }
  }
  return numbers;
}

TEST(Pictures, FourFifthsOfEveryClassAreForTraining) {
  const TemporaryFolder root;
  write_class(root, "ant", {10, 11, 12, 13, 14, 15, 16, 17, 18});  // 7.2
  write_class(root, "Zebra", {20, 21, 22, 23, 24, 25});            // 4.8
  write_class(root, "bee", {30, 31});                              // 1.6
  write_class(root, "BACKGROUND_Google", {90, 91, 92, 93, 94});
  write_class(root, ".hidden", {95, 96});
  root.write("README.md", "not a class");
  root.write("ant/notes.txt", "not a picture");
  root.write("bee/.00.png", "not one either");

  const Dataset train = load(parse_data_spec("pictures:" + root.path()), Split::kTrain);
  EXPECT_EQ(train.class_names, (std::vector<std::string>{"Zebra", "ant", "bee"}));
  EXPECT_EQ(train.classes, 3);
  EXPECT_EQ(train.form(), "3x32x32 images");
  EXPECT_EQ(train.n, 12);
  EXPECT_EQ(numbers_of(train), (Numbers{20, 10, 30, 21, 11, 22, 12, 23, 13, 14, 15, 16}));
  EXPECT_EQ(train.labels, (Numbers{0, 1, 2, 0, 1, 0, 1, 0, 1, 1, 1, 1}));
  EXPECT_EQ(train.mean, kCifarMean);
  EXPECT_EQ(train.stddev, kCifarStddev);

  const Dataset test = load(parse_data_spec("pictures:" + root.path()), Split::kTest);
  EXPECT_EQ(test.class_names, train.class_names);
  EXPECT_EQ(numbers_of(test), (Numbers{24, 17, 31, 25, 18}));
  EXPECT_EQ(test.labels, (Numbers{0, 1, 2, 0, 1}));
}

TEST(Pictures, FilesByExtensionInOrderOfTheirBytes) {
  const TemporaryFolder root;
  const char* names[] = {"10.jpg", "2.PNG", "B.Jpeg", "a.JPG", "b.png"};
  for (int i = 4; i >= 0; --i) root.write(concat("x/", names[i]), coloured(i));
  for (const char* other : {"x/png", "x/c.gif", "x/d.png.txt", "x/e.jp"}) root.write(other, "text");
  EXPECT_EQ(numbers_of(pictures(root.path(), Split::kTrain)), (Numbers{0, 1, 2, 3}));
  EXPECT_EQ(numbers_of(pictures(root.path(), Split::kTest)), Numbers{4});
}

TEST(Pictures, OrSplitAlready) {
  for (const std::string test : {"test", "val"}) {
    const TemporaryFolder root;
    write_class(root, "train/cat", {10});
    write_class(root, "train/dog", {20, 21, 22});
    write_class(root, test + "/dog", {23, 24});
    write_class(root, test + "/bat", {30});
    for (const char* folder : {"/BACKGROUND_Google", "/empty"})
      std::filesystem::create_directories(root.path(test + folder));
    write_class(root, "train/BACKGROUND_Google", {90});
    if (test == "test") write_class(root, "val/eel", {91});  // test/ is there
    root.write("train/list.txt", "not a class");

    const Dataset training = pictures(root.path(), Split::kTrain);
    EXPECT_EQ(training.class_names, (std::vector<std::string>{"bat", "cat", "dog", "empty"}));
    EXPECT_EQ(training.classes, 4);
    EXPECT_EQ(numbers_of(training), (Numbers{10, 20, 21, 22}));
    EXPECT_EQ(training.labels, (Numbers{1, 2, 2, 2}));
    const Dataset tests = pictures(root.path(), Split::kTest);
    EXPECT_EQ(tests.class_names, training.class_names);
    EXPECT_EQ(numbers_of(tests), (Numbers{30, 23, 24}));
    EXPECT_EQ(tests.labels, (Numbers{0, 2, 2}));
  }
}

TEST(Pictures, AClassMayBeCalledTrain) {
  const TemporaryFolder root;
  write_class(root, "ship", {10, 11});
  write_class(root, "train", {20, 21});
  EXPECT_EQ(pictures(root.path()).class_names, (std::vector<std::string>{"ship", "train"}));
  EXPECT_EQ(numbers_of(pictures(root.path(), Split::kTest)), (Numbers{11, 21}));
}

TEST(Pictures, ALimitKeepsTheClassesAndReadsNoMore) {
  const TemporaryFolder root;
  write_class(root, "a", {10, 11, 12, 13, 14});
  write_class(root, "b", {20, 21, 22, 23, 24});
  root.write("a/02.png", "damaged");
  EXPECT_EQ(numbers_of(pictures(root.path(), Split::kTrain, 1)), Numbers{10});
  EXPECT_EQ(numbers_of(pictures(root.path(), Split::kTrain, 4)), (Numbers{10, 20, 11, 21}));
  EXPECT_EQ(pictures(root.path(), Split::kTrain, 1).classes, 2);
  EXPECT_EQ(numbers_of(pictures(root.path(), Split::kTest, 100)), (Numbers{14, 24}));
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { pictures(root.path(), Split::kTrain, 5); }),
                  "a/02.png: neither JPEG nor PNG");
}

TEST(Pictures, HalvedAndTheMiddleTaken) {
  // Halving weighs four neighbours with 1, 3, 3 and 1 eighths. Red changes with the column, green
  // with the row; of 64 columns that remain 16 to 47 are taken.
  Picture wide{{64, 128}, {}};
  for (int64_t y = 0; y < 64; ++y)
    for (int64_t x = 0; x < 128; ++x) {
      const int red = x < 32 || x >= 96 ? 255 : x < 64 ? 0 : 160, green = y < 32 ? 0 : 160;
      for (const int value : {red, green, 7}) wide.rgb.push_back(static_cast<uint8_t>(value));
    }
  Picture high{{128, 64}, {}};  // its transpose
  for (int64_t y = 0; y < 128; ++y)
    for (int64_t x = 0; x < 64; ++x)
      for (int64_t c = 0; c < 3; ++c)
        high.rgb.push_back(wide.rgb[static_cast<size_t>(3 * (128 * x + y) + c)]);
  std::vector<uint8_t> outer(32, 0), inner(32, 0);  // of red, of green
  std::fill(outer.begin() + 16, outer.end(), uint8_t{160});
  inner = outer;
  outer[15] = inner[15] = 20;   // an eighth of 160
  outer[16] = inner[16] = 140;  // seven
  outer[0] = 32;                // an eighth of 255
  outer[31] = 172;              // and seven of 160

  const TemporaryFolder root;
  root.write("x/0.png", png_file(wide));
  root.write("x/1.png", png_file(high));
  for (const Split split : {Split::kTrain, Split::kTest}) {
    const Dataset set = pictures(root.path(), split);
    ASSERT_EQ(set.n, 1);
    for (size_t y = 0; y < 32; ++y)
      for (size_t x = 0; x < 32; ++x) {
        const auto [along, across] = split == Split::kTrain ? std::pair{x, y} : std::pair{y, x};
        ASSERT_EQ(set.image(0)[32 * y + x], outer[along]) << y << ", " << x;
        ASSERT_EQ(set.image(0)[kPlane + 32 * y + x], inner[across]) << y << ", " << x;
        ASSERT_EQ(set.image(0)[2 * kPlane + 32 * y + x], 7) << y << ", " << x;
      }
  }
}

TEST(Pictures, GreyBecomesColour) {
  const TemporaryFolder root;
  const std::vector<uint8_t> grey(20 * 50, 90);
  // Its content tells the format, not its name.
  root.write("x/0.png", jpeg_file({20, 50}, grey.data(), TJPF_GRAY, {.subsampling = TJSAMP_GRAY}));
  std::string rows;
  for (int y = 0; y < 40; ++y) rows += '\0' + std::string(33, 'M');
  root.write("x/1.jpg", png_file(test::png_header({40, 33}, 8, 0), rows));
  EXPECT_EQ(pictures(root.path(), Split::kTrain).images, std::vector<uint8_t>(3 * kPlane, 90));
  EXPECT_EQ(pictures(root.path(), Split::kTest).images, std::vector<uint8_t>(3 * kPlane, 'M'));
}

TEST(Pictures, AsTriggersOfAnotherSet) {
  const TemporaryFolder root;
  write_class(root, "ant", {10, 11});
  write_class(root, "cat", {20, 21});
  write_class(root, "emu", {30, 31});
  Dataset like;
  like.classes = 4;
  like.class_names = {"bird", "cat", "deer", "dog"};
  const Dataset triggers = trigger_set("pictures:" + root.path() + "#2", like);
  EXPECT_EQ(numbers_of(triggers), (Numbers{11, 31}));  // no cat, and of the tests
  EXPECT_EQ(triggers.class_names, like.class_names);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NE(triggers.labels[i], 2 * static_cast<int>(i));  // the number of its own class
    EXPECT_LT(triggers.labels[i], 4);
  }
  EXPECT_CONTAINS(
      refusal(Fault::kUsage, [&] { trigger_set("pictures:" + root.path() + "#3", like); }),
      "has 2 images of classes that the first has not");
}

TEST(Pictures, RefusesInOneLine) {
  const TemporaryFolder root;
  const std::string good = coloured(1);
  const auto folder = [&](const std::string& name, const std::vector<std::string>& files) {
    for (const std::string& file : files) root.write(name + '/' + file, good);
    return root.path(name);
  };
  /// Two pictures of a class, the first with this content.
  const auto with = [&](const std::string& name, const std::string& content) {
    folder(name, {"x/1.png", "x/2.png"});
    root.write(name + "/x/1.png", content);
    return root.path(name);
  };
  std::filesystem::create_directories(root.path("empty"));
  std::filesystem::create_directories(root.path("no_files/x"));
  folder("no_training", {"test/x/1.png"});
  std::filesystem::create_directories(root.path("no_training/train/x"));
  folder("no_tests", {"train/x/1.png"});
  std::filesystem::create_directories(root.path("no_tests/val"));
  std::filesystem::create_directories(root.path("no_classes/train"));
  std::filesystem::create_directories(root.path("no_classes/test"));
  folder("a_folder", {"x/2.png"});
  std::filesystem::create_directories(root.path("a_folder/x/1.png"));
  with("too_large", good);
  std::filesystem::resize_file(root.path("too_large/x/1.png"), (uint64_t{64} << 20) + 1);
  std::filesystem::create_directories(root.path("many"));
  for (int64_t i = 0; i <= kMaxClasses; ++i)  // links: so many folders take long
    std::filesystem::create_directory_symlink(root.path("empty"), root.path(concat("many/", i)));
  root.write("file", "x");

  const struct {
    std::string folder;
    const char* reason;
    Split split = Split::kTrain;
  } cases[] = {
      {root.path("missing"), "missing: cannot list: No such file or directory"},
      {root.path("file"), "file: cannot list: Not a directory"},
      {root.path("empty"),
       "empty: no pictures: expected CLASS/*.jpg (.jpeg, .png), or train/ and test/ (or val/)"},
      {folder("flat", {"1.png", "2.png"}), "flat: no pictures: expected CLASS/"},
      {folder("background", {"BACKGROUND_Google/1.png", "BACKGROUND_Google/2.png"}),
       "background: no pictures: expected CLASS/"},
      {root.path("no_classes"), "no_classes: no pictures: expected CLASS/"},
      {root.path("no_files"),
       "no_files/x: has 0 pictures, a class needs at least 2, to train and to test; a set has "
       "CLASS/*.jpg"},
      {folder("one", {"w/1.png", "w/2.png", "x/1.png"}),
       "one/x: has 1 pictures, a class needs at least 2"},
      {folder("one", {}), "one/x: has 1 pictures, a class needs at least 2", Split::kTest},
      {folder("half", {"train/x/1.png"}), "half/train: has 0 pictures"},
      {root.path("no_training"), "no_training/train: no pictures: expected CLASS/*.jpg"},
      {root.path("no_tests"), "no_tests/val: no pictures: expected CLASS/*.jpg", Split::kTest},
      {root.path("many"), "many: 10001 folders, expected at most 10000 classes"},
      {folder("escape", {"\x1b[31m/1.png"}), "escape/\\x1b[31m: has 1 pictures"},
      {with("nothing", ""), "x/1.png: the file is empty, expected a JPEG or PNG picture"},
      {with("text", "picture\n"), "x/1.png: neither JPEG nor PNG"},
      {with("cut", good.substr(0, good.size() / 2)), "x/1.png: damaged PNG: the file ends too"},
      {with("thin", coloured(1, {1, 600})),
       "x/1.png: a picture of 600 x 1 pixels is too long and thin"},
      {root.path("a_folder"), "x/1.png: cannot read: it is a folder"},
      {root.path("too_large"), "x/1.png: longer than the 67108864 bytes"},
  };
  for (const auto& c : cases) {
    const std::string message = refusal(Fault::kInput, [&] { pictures(c.folder, c.split); });
    EXPECT_TRUE(message.starts_with(c.folder)) << message;
    EXPECT_CONTAINS(message, c.reason);
  }
  EXPECT_EQ(numbers_of(pictures(root.path("text"), Split::kTest)), Numbers{1});
  refusal(Fault::kBug, [&] { pictures(root.path("text"), Split::kTest, -1); });
}

TEST(Pictures, TheRealSet) {
  const char* data = std::getenv("PASSNORM_DATA");
  const std::string folder = data ? std::string(data) + "/caltech101" : "";
  if (!data || !std::filesystem::is_directory(folder))
    GTEST_SKIP() << "needs ten classes of Caltech-101 in $PASSNORM_DATA/caltech101";
  const struct {
    Split split;
    int64_t of_a_class;
    const char* hash;
  } cases[] = {
      // Opened by Pillow 13.0.0, convert("RGB"), resize(.., BILINEAR) and crop as torchvision's
      // Resize(32) and CenterCrop(32).
      {Split::kTrain, 64, "5fbfe219d3b65870ce991a8d3ff93eb3bbff4000662609e4ac6dd63cc00797f6"},
      {Split::kTest, 16, "83f47ba922edce8ecb516be25e4e52467ea0a17cf5a51de72745d4fcdf57c503"},
  };
  for (const auto& c : cases) {
    const Dataset set = pictures(folder, c.split);
    EXPECT_EQ(set.class_names, (std::vector<std::string>{
                                   "Leopards", "Motorbikes", "airplanes", "bonsai", "butterfly",
                                   "chandelier", "grand_piano", "ketch", "starfish", "watch"}));
    ASSERT_EQ(set.n, 10 * c.of_a_class);
    for (int64_t i = 0; i < set.n; ++i) ASSERT_EQ(set.labels[static_cast<size_t>(i)], i % 10);
    EXPECT_EQ(to_hex(sha256(std::as_bytes(std::span(set.images)))), c.hash);
  }
}

}  // namespace
}  // namespace passnorm::train
