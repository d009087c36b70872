// Whole files: read with a limit, written so that a reader sees the old bytes or the new ones,
// never a part.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/secret_bytes.hpp"

namespace passnorm {

/// All bytes of a file or pipe. Error(kInput), one line that starts with the path: missing, a
/// folder, not permitted, longer than max_bytes. Error(kMemory) when it does not fit into memory.
std::vector<std::byte> read_file(const std::string& path, uint64_t max_bytes);

/// A file that holds a secret, and whether its mode lets anybody but its owner at it: an ordinary
/// file that its group or others may read, write or execute. Both of the same open file, whatever
/// the path stands for a moment later; symbolic links are followed.
struct SecretFile {
  SecretBytes bytes;
  bool shared = false;
};
/// As read_file.
SecretFile read_secret_file(const std::string& path, uint64_t max_bytes);

struct WriteOptions {
  mode_t mode = 0644;  ///< of the new file, less the umask; 0600 for secrets
};

/// Writes a temporary file of the same folder, flushes it to the disk, renames it to `path` and
/// flushes the folder: after a crash the path holds the old bytes or the new ones. An existing file
/// is replaced, with the new mode; a symbolic link is replaced, not followed. On failure the
/// temporary is removed and the old file stands (only when flushing the folder fails, the new one).
/// Error(kMemory) when the disk is full, Error(kInput) otherwise.
void write_file_atomic(const std::string& path, std::span<const std::byte> bytes,
                       WriteOptions options = {});

/// An open file, closed at the end of its life.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }  ///< negative: it could not be opened
  /// Sooner. A network file system may report a failed write only here: -1, and errno.
  int close();

 private:
  int fd_;
};

inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace passnorm
