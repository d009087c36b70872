// Files of checkpoints: whole or refused, named by position, the newest kept.
#include "train/checkpoint.hpp"

#include <sys/stat.h>

#include <cmath>
#include <cstring>

#include "engine/io/crypto.hpp"
#include "engine/io/file.hpp"
#include "tests/support/files.hpp"

namespace passnorm::train {
namespace {

Checkpoint example(Position position = {3, 7}) {
  return {.position = position,
          .run = {{"lr", "0.1"}, {"settings", ""}},
          .arenas = {{"weights", {1, -2, 0.5f, NAN}}, {"buffers", {}}},
          .numbers = {0, -0.0, 1e300, INFINITY}};
}

TEST(CheckpointFile, HoldsEverythingToTheBit) {
  const Checkpoint c = example();
  const auto bytes = checkpoint_bytes(c);
  EXPECT_EQ(bytes, checkpoint_bytes(c));
  const Checkpoint read = parse_checkpoint("x", bytes);
  EXPECT_EQ(read.position, c.position);
  EXPECT_EQ(read.run, c.run);
  ASSERT_EQ(read.arenas.size(), 2u);
  EXPECT_EQ(checkpoint_bytes(read), bytes);  // NaN and -0 too
}

TEST(CheckpointFile, EveryFlippedByteAndEveryOtherLengthIsRefused) {
  const auto bytes = checkpoint_bytes(example());
  const auto refused = [](std::vector<std::byte> damaged) {
    const std::string text =
        test::refusal(Fault::kInput, [&] { parse_checkpoint("some file", std::move(damaged)); });
    EXPECT_TRUE(text.starts_with("some file")) << text;
  };
  for (size_t i = 0; i < bytes.size(); ++i)
    for (const auto flip : {std::byte{1}, std::byte{0x80}, std::byte{0xff}}) {
      auto damaged = bytes;
      damaged[i] ^= flip;
      refused(std::move(damaged));
    }
  for (size_t n = 0; n < bytes.size(); ++n)
    refused({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)});
  auto longer = bytes;
  longer.push_back(std::byte{0});
  refused(longer);
  refused(std::vector<std::byte>(bytes.size()));
}

/// Before there were loss scales: 1, and no steps since it changed.
TEST(CheckpointFile, TheFirstFormatIsRead) {
  auto bytes = checkpoint_bytes(example());
  const std::string now = "passnorm.checkpoint/2";
  const auto at = std::string(text_of(bytes)).find(now);
  ASSERT_NE(at, std::string::npos);
  const auto with_format = [&](char version) {
    auto other = bytes;
    other[at + now.size() - 1] = static_cast<std::byte>(version);
    const auto content = std::span(other).first(other.size() - sizeof(Hash256));
    const Hash256 checksum = blake2b256(content);
    std::memcpy(other.data() + content.size(), checksum.data(), checksum.size());
    return other;
  };
  std::vector<double> expected = example().numbers;
  expected.insert(expected.end(), {1, 0});
  EXPECT_EQ(parse_checkpoint("x", with_format('1')).numbers, expected);
  EXPECT_EQ(parse_checkpoint("x", with_format('2')).numbers, example().numbers);
  EXPECT_CONTAINS(test::refusal(Fault::kInput, [&] { parse_checkpoint("x", with_format('3')); }),
                  "passnorm.checkpoint/2");
}

Metadata run_of_example() { return example().run; }

struct Folder {
  test::TemporaryFolder tmp;
  CheckpointOptions options{.folder = tmp.path("checkpoints")};
  std::vector<std::string> notes;

  CheckpointFolder folder() const { return CheckpointFolder(options); }
  Checkpoint resume(const Metadata& run = run_of_example()) {
    return folder().resume(run, [&](const std::string& line) { notes.push_back(line); });
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(options.folder))
      found.push_back(entry.path().filename());
    std::ranges::sort(found);
    return found;
  }
  void damage(const Position& p, size_t byte = 100) const {
    const std::string path = folder().path(p);
    auto bytes = read_file(path, 1 << 20);
    bytes.at(byte) ^= std::byte{4};
    write_file_atomic(path, bytes);
  }
};

TEST(CheckpointFolder, NamesKeepsAndHides) {
  Folder f;
  f.folder().start();
  for (const Position p : {Position{0, 5}, {1, 0}, {1, 123456}, {1, 1234567}})
    f.folder().save(example(p));
  EXPECT_EQ(f.names(), (std::vector<std::string>{"epoch-0001-step-123456.safetensors",
                                                 "epoch-0001-step-1234567.safetensors"}));
  struct stat status {};
  ASSERT_EQ(::stat(f.folder().path({1, 123456}).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  f.options.keep = 3;
  for (const Position p : {Position{2, 0}, {10000, 0}}) f.folder().save(example(p));
  EXPECT_EQ(f.names(),
            (std::vector<std::string>{"epoch-0001-step-1234567.safetensors",
                                      "epoch-0002.safetensors", "epoch-10000.safetensors"}));
  EXPECT_EQ(f.resume().position, (Position{10000, 0}));
  // What is no checkpoint stays.
  for (const char* name : {"epoch-3.safetensors", "epoch-0003.safetensors.bak", "notes.txt"})
    f.tmp.write(concat("checkpoints/", name), "mine");
  EXPECT_EQ(f.resume().position, (Position{10000, 0}));
  remove_checkpoints(f.options.folder);
  EXPECT_EQ(f.names(), (std::vector<std::string>{"epoch-0003.safetensors.bak",
                                                 "epoch-3.safetensors", "notes.txt"}));
  remove_checkpoints(f.tmp.path("missing"));
}

TEST(CheckpointFolder, ANewRunDoesNotStartOnAnother) {
  Folder f;
  f.folder().start();
  f.folder().start();  // empty
  f.folder().save(example());
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { f.folder().start(); }), "resume");
  f.options.keep = 0;
  test::refusal(Fault::kUsage, [&] { f.folder().start(); });
  Folder blocked;
  blocked.options.folder = blocked.tmp.write("file", "") + "/checkpoints";
  EXPECT_CONTAINS(test::refusal(Fault::kInput, [&] { blocked.folder().start(); }), "file");
}

TEST(CheckpointFolder, ADamagedOneIsNamedAndTheOneBeforeIsUsed) {
  Folder f;
  f.options.keep = 3;
  f.folder().start();
  for (const int64_t epoch : {1, 2, 3}) f.folder().save(example({epoch, 0}));
  f.damage({3, 0});
  EXPECT_EQ(f.resume().position, (Position{2, 0}));
  ASSERT_EQ(f.notes.size(), 2u);
  EXPECT_CONTAINS(f.notes[0], "epoch-0003.safetensors: damaged");
  EXPECT_CONTAINS(f.notes[1], "resumed from");
  EXPECT_CONTAINS(f.notes[1], "epoch-0002.safetensors");
  // The next one removes what lies beyond it: the damaged one does not displace a whole one.
  f.options.keep = 1;
  f.folder().save(example({2, 4}));
  EXPECT_EQ(f.names(), (std::vector<std::string>{"epoch-0002-step-000004.safetensors"}));
  f.damage({2, 4}, 0);
  EXPECT_CONTAINS(test::refusal(Fault::kInput, [&] { f.resume(); }), "none of its 1 checkpoints");
  // Nor does a damaged one in front of it.
  f.options.keep = 2;
  f.folder().save(example({2, 2}));
  f.folder().save(example({2, 4}));
  f.damage({2, 4});
  CheckpointFolder again = f.folder();
  EXPECT_EQ(again.resume(run_of_example(), {}).position, (Position{2, 2}));
  again.save(example({3, 0}));
  EXPECT_EQ(f.names(), (std::vector<std::string>{"epoch-0002-step-000002.safetensors",
                                                 "epoch-0003.safetensors"}));
  again.save(example({4, 0}));
  remove_checkpoints(f.options.folder);
  // A whole file under the name of another position.
  f.tmp.write("checkpoints/epoch-0009.safetensors", text_of(checkpoint_bytes(example({8, 0}))));
  test::refusal(Fault::kInput, [&] { f.resume(); });
}

TEST(CheckpointFolder, NothingToResumeFrom) {
  Folder f;
  EXPECT_CONTAINS(test::refusal(Fault::kInput, [&] { f.resume(); }), "no checkpoint");
  f.folder().start();
  EXPECT_CONTAINS(test::refusal(Fault::kInput, [&] { f.resume(); }), "no checkpoint");
}

TEST(CheckpointFolder, AnotherRunIsRefusedByTheSettingThatDiffers) {
  Folder f;
  f.folder().start();
  f.folder().save(example());
  const auto refusal_of = [&](const Metadata& run) {
    return test::refusal(Fault::kUsage, [&] { f.resume(run); });
  };
  EXPECT_CONTAINS(refusal_of({{"lr", "0.2"}, {"settings", ""}}), "lr was 0.1, now 0.2");
  EXPECT_CONTAINS(refusal_of({{"lr", "0.1"}, {"settings", "b"}}), "settings was none, now b");
  EXPECT_CONTAINS(refusal_of({{"settings", ""}}), "lr was 0.1, now none");
  EXPECT_CONTAINS(refusal_of({{"lr", "0.1"}, {"new", "1"}}), "new was none, now 1");
  EXPECT_TRUE(f.notes.empty());
}

}  // namespace
}  // namespace passnorm::train
