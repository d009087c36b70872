#include "engine/io/file.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <utility>

#include "kernels/runtime/check.hpp"

namespace passnorm {
namespace {

[[noreturn]] void fail_errno(const std::string& path, const char* doing, int error) {
  switch (error) {
    case ENOENT:
      fail(Fault::kInput, path, ": cannot ", doing, ": no such file or folder");
    case EISDIR:
      fail(Fault::kInput, path, ": cannot ", doing, ": it is a folder, not a file");
    case EACCES:
    case EPERM:
      fail(Fault::kInput, path, ": cannot ", doing, ": permission denied");
    case ENOSPC:
    case EDQUOT:
      fail(Fault::kMemory, path, ": cannot ", doing, ": the disk is full");
    case EFBIG:
      fail(Fault::kMemory, path, ": cannot ", doing, ": beyond the size that a file may have here");
    default:
      fail(Fault::kInput, path, ": cannot ", doing, ": ", std::strerror(error));
  }
}

struct stat status_of(const std::string& path, const Descriptor& file) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail_errno(path, "read", errno);
  return status;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// Short whatever the final name is: that one may already have the longest length a name can have.
std::string temporary_name(const std::string& folder) {
  uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number)
    fail_errno(folder, "draw a temporary name", errno);
  char name[32];
  std::snprintf(name, sizeof name, "/.passnorm-%016llx", static_cast<unsigned long long>(number));
  return folder + name;
}

/// Removes the temporary file unless it got its final name.
struct Temporary {
  std::string path;
  bool renamed = false;
  ~Temporary() {
    if (!renamed) ::unlink(path.c_str());
  }
};

void write_all(const std::string& path, const Descriptor& file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) fail_errno(path, "write", errno);
    if (written > 0) bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

/// The bytes, into a vector of any memory, and the state of the file they are from.
template <class Bytes>
std::pair<Bytes, struct stat> read_whole(const std::string& path, uint64_t max_bytes) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail_errno(path, "read", errno);
  const struct stat status = status_of(path, file);
  if (S_ISDIR(status.st_mode)) fail_errno(path, "read", EISDIR);
  const auto refuse_longer = [&] {
    fail(Fault::kInput, path, ": longer than the ", max_bytes, " bytes such a file may have");
  };
  const uint64_t expected = S_ISREG(status.st_mode) ? static_cast<uint64_t>(status.st_size) : 0;
  if (expected > max_bytes) refuse_longer();

  Bytes bytes;
  size_t size = 0;
  try {
    bytes.resize(expected + 1);  // one more: the end of the file is seen without growing
    for (;;) {
      if (size == bytes.size()) bytes.resize(2 * size + (size_t{64} << 10));
      const ssize_t count = ::read(file.get(), bytes.data() + size, bytes.size() - size);
      if (count == 0) break;
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail_errno(path, "read", errno);
      size += static_cast<size_t>(count);
      if (size > max_bytes) refuse_longer();
    }
  } catch (const std::bad_alloc&) {
    fail(Fault::kMemory, path, ": out of memory reading ", expected >> 20, " MiB");
  }
  bytes.resize(size);
  return {std::move(bytes), status};
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

int Descriptor::close() { return ::close(std::exchange(fd_, -1)); }

std::vector<std::byte> read_file(const std::string& path, uint64_t max_bytes) {
  return read_whole<std::vector<std::byte>>(path, max_bytes).first;
}

SecretFile read_secret_file(const std::string& path, uint64_t max_bytes) {
  auto [bytes, status] = read_whole<SecretBytes>(path, max_bytes);
  return {std::move(bytes), S_ISREG(status.st_mode) && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0};
}

void write_file_atomic(const std::string& path, std::span<const std::byte> bytes,
                       WriteOptions options) {
  struct stat status {};
  if (::stat(path.c_str(), &status) ==
      0) {  // never rename over a folder, or as root over /dev/null
    if (S_ISDIR(status.st_mode)) fail_errno(path, "write", EISDIR);
    if (!S_ISREG(status.st_mode))
      fail(Fault::kInput, path, ": cannot write: it is not a regular file");
  }
  const std::string folder = folder_of(path);
  const std::string name = temporary_name(folder);
  Descriptor file(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, options.mode));
  if (file.get() < 0) fail_errno(path, "write", errno);
  Temporary temporary{name};
  write_all(path, file, bytes);
  if (::fsync(file.get()) != 0) fail_errno(path, "write", errno);
  if (file.close() != 0) fail_errno(path, "write", errno);
  if (::rename(name.c_str(), path.c_str()) != 0) fail_errno(path, "write", errno);
  temporary.renamed = true;

  const Descriptor parent(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.get() < 0) {
    if (errno == EACCES) return;  // a folder that may be written but not listed cannot be flushed
    fail_errno(folder, "flush", errno);
  }
  if (::fsync(parent.get()) != 0 && errno != EINVAL) fail_errno(folder, "flush", errno);
}

}  // namespace passnorm
