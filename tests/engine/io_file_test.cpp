#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "tests/support/files.hpp"

namespace passnorm::test {
namespace {

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_mode & 07777;
}

/// Not root: root passes every permission check.
class AsNobody {
 public:
  AsNobody() : root_(::geteuid() == 0) {
    if (root_) {
      EXPECT_EQ(::seteuid(65534), 0);
    }
  }
  ~AsNobody() {
    if (root_) {
      EXPECT_EQ(::seteuid(0), 0);
    }
  }

 private:
  bool root_;
};

/// Writes beyond `bytes` fail with EFBIG, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST(File, WritesAndReadsBack) {
  const TemporaryFolder folder;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{100'000}}) {
    const std::string content(size, 'x');
    write_file_atomic(folder.path("a"), bytes_of(content));
    EXPECT_EQ(text_of(read_file(folder.path("a"), size)), content);
  }
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});  // no temporary left
}

TEST(File, ReadsAPipeToItsEnd) {
  const TemporaryFolder folder;
  const std::string pipe = folder.path("pipe"), content(300'000, 'p');
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] {
    const int fd = ::open(pipe.c_str(), O_WRONLY);
    for (size_t at = 0; at < content.size();) {
      const ssize_t n = ::write(fd, content.data() + at, content.size() - at);
      if (n <= 0) break;
      at += static_cast<size_t>(n);
    }
    ::close(fd);
  });
  EXPECT_EQ(text_of(read_file(pipe, 1 << 20)), content);
  writer.join();
}

TEST(File, ModeIsSetFromTheStart) {
  const TemporaryFolder folder;
  const mode_t umask_before = ::umask(022);
  const std::string secret = folder.path("secret"), open = folder.path("open");
  write_file_atomic(secret, bytes_of("s"), {.mode = 0600});
  write_file_atomic(open, bytes_of("o"));
  EXPECT_EQ(mode_of(secret), 0600u);
  EXPECT_EQ(mode_of(open), 0644u);
  ASSERT_EQ(::chmod(secret.c_str(), 0640), 0);
  write_file_atomic(secret, bytes_of("t"), {.mode = 0600});
  EXPECT_EQ(mode_of(secret), 0600u) << "a file that is replaced does not pass on its mode";
  ::umask(umask_before);
}

TEST(File, ASymbolicLinkIsReplacedNotFollowed) {
  const TemporaryFolder folder;
  folder.write("target", "old");
  ASSERT_EQ(::symlink("target", folder.path("link").c_str()), 0);
  write_file_atomic(folder.path("link"), bytes_of("new"));
  EXPECT_EQ(text_of(read_file(folder.path("target"), 10)), "old");
  EXPECT_EQ(text_of(read_file(folder.path("link"), 10)), "new");
}

TEST(File, AFailedWriteLeavesTheOldFileAndNoTemporary) {
  const TemporaryFolder folder;
  const std::string path = folder.write("a", "old");
  const std::string content(10'000, 'n');
  {
    const FileSizeLimit limit(4096);
    EXPECT_CONTAINS(refusal(Fault::kMemory, [&] { write_file_atomic(path, bytes_of(content)); }),
                    path);
  }
  EXPECT_EQ(text_of(read_file(path, 100)), "old");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});
}

/// The modes of a folder's files at the moment of the first write to one of them.
std::string watched_folder;
std::vector<mode_t> modes_at_first_write;
void note_modes(int) {
  for (const auto& entry : std::filesystem::directory_iterator(watched_folder))
    modes_at_first_write.push_back(mode_of(entry.path()));
}

/// With a umask that forbids nothing, and before the file holds a byte.
TEST(File, ASecretIsNeverOpenToOthers) {
  const TemporaryFolder folder;
  watched_folder = folder.path();
  modes_at_first_write.clear();
  const mode_t umask_before = ::umask(0);
  {
    const FileSizeLimit limit(0);  // the first byte raises SIGXFSZ, which is not ignored now
    void (*const before)(int) = ::signal(SIGXFSZ, note_modes);
    refusal(Fault::kMemory,
            [&] { write_file_atomic(folder.path("secret"), bytes_of("s"), {.mode = 0600}); });
    ::signal(SIGXFSZ, before);
  }
  EXPECT_EQ(modes_at_first_write, std::vector<mode_t>{0600});
  write_file_atomic(folder.path("secret"), bytes_of("s"), {.mode = 0600});
  EXPECT_EQ(mode_of(folder.path("secret")), 0600u);
  ::umask(umask_before);
}

TEST(File, ASecretFileTellsWhetherOthersMayUseIt) {
  const TemporaryFolder folder;
  const std::string path = folder.write("secret", "12345");
  std::filesystem::create_symlink("secret", folder.path("link"));
  for (mode_t mode = 0400; mode < 01000; ++mode) {
    if ((mode & 0400) == 0) continue;
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    for (const char* name : {"secret", "link"}) {
      const SecretFile file = read_secret_file(folder.path(name), 5);
      EXPECT_EQ(file.shared, (mode & 077) != 0) << std::oct << mode;
      EXPECT_EQ(text_of(file.bytes), "12345");
    }
  }
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { read_secret_file(path, 4); }), "longer than");
  // What a shell's <(...) gives: a pipe, whose mode says nothing.
  const std::string pipe = folder.path("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0666), 0);
  std::thread writer([&] {
    const int fd = ::open(pipe.c_str(), O_WRONLY);
    EXPECT_EQ(::write(fd, "abc", 3), 3);
    ::close(fd);
  });
  const SecretFile file = read_secret_file(pipe, 5);
  writer.join();
  EXPECT_EQ(text_of(file.bytes), "abc");
  EXPECT_FALSE(file.shared);
}

TEST(File, RefusesWithOneLineThatNamesTheFile) {
  const TemporaryFolder folder;
  const std::string file = folder.write("file", "12345");
  ASSERT_EQ(::mkfifo(folder.path("pipe").c_str(), 0600), 0);
  const std::string closed = folder.path("closed");
  ASSERT_EQ(::mkdir(closed.c_str(), 0700), 0);
  struct Case {
    std::string path;
    bool write;
    const char* reason;
  };
  const Case cases[] = {
      {folder.path("missing"), false, "no such file"},
      {"", false, "no such file"},
      {folder.path(), false, "it is a folder"},
      {file, false, "longer than the 4 bytes"},
      {"/dev/zero", false, "longer than the 4 bytes"},
      {file + "/below", false, "Not a directory"},
      {folder.path("no/such/folder"), true, "no such file or folder"},
      {folder.path(), true, "it is a folder"},
      {folder.path("pipe"), true, "not a regular file"},
      {"/dev/null", true, "not a regular file"},
      {folder.path(std::string(300, 'n')), true, "File name too long"},
  };
  for (const Case& c : cases) {
    const std::string message = refusal(Fault::kInput, [&] {
      if (c.write) {
        write_file_atomic(c.path, bytes_of("x"));
      } else {
        read_file(c.path, 4);
      }
    });
    EXPECT_TRUE(message.starts_with(c.path)) << message;
    EXPECT_CONTAINS(message, c.reason);
  }
  refusal(Fault::kInput, [&] { read_secret_file(folder.path("missing"), 4); });
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"closed", "file", "pipe"}));
}

TEST(File, PermissionDenied) {
  const TemporaryFolder folder;
  const std::string file = folder.write("file", "x");
  ASSERT_EQ(::chmod(file.c_str(), 0), 0);
  ASSERT_EQ(::chmod(folder.path().c_str(), 0555), 0);
  {
    const AsNobody nobody;
    EXPECT_CONTAINS(refusal(Fault::kInput, [&] { read_file(file, 10); }), "permission denied");
    EXPECT_CONTAINS(
        refusal(Fault::kInput, [&] { write_file_atomic(folder.path("new"), bytes_of("x")); }),
        "permission denied");
  }
  ASSERT_EQ(::chmod(folder.path().c_str(), 0700), 0);
}

}  // namespace
}  // namespace passnorm::test
