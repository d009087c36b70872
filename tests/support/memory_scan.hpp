// Finds pieces of secrets anywhere in the memory of this process: in what is in use and in what was
// freed.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace passnorm::test {

/// Remembers pieces of secrets by their hashes, so that it holds no copy itself, and looks for
/// them.
class MemoryScan {
 public:
  static constexpr size_t kPiece = 16;

  /// Every piece of kPiece bytes that starts at a multiple of `step`: any copy of kPiece + step - 1
  /// bytes or more is found.
  void add(const std::string& what, std::span<const std::byte> secret, size_t step = kPiece) {
    for (size_t at = 0; at + kPiece <= secret.size(); at += step) {
      const uint64_t hash = hash_of(secret.data() + at);
      names_.emplace(hash, what);
      filter_[hash % kFilterBits / 8] |= static_cast<uint8_t>(1 << hash % 8);
    }
  }

  /// name -> number of pieces found, of those that were added.
  std::map<std::string, int64_t> found() const {
    // Pages of our own: what is copied here must not be scanned itself, and is gone afterwards.
    constexpr size_t kWindow = size_t{1} << 20;
    void* const window =
        ::mmap(nullptr, kWindow, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (window == MAP_FAILED) throw std::bad_alloc();
    std::map<std::string, int64_t> found;
    const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    EXPECT_GE(memory, 0);
    bytes_scanned_ = 0;
    for (const Region& region : regions()) {
      if (region.begin <= address(window) && address(window) < region.end) {
        // Two regions may have been merged: leave out the window, not its neighbours.
        scan(memory, {region.begin, address(window)}, window, kWindow, found);
        scan(memory, {address(window) + kWindow, region.end}, window, kWindow, found);
      } else {
        scan(memory, region, window, kWindow, found);
      }
    }
    ::close(memory);
    ::munmap(window, kWindow);
    return found;
  }
  /// In the last search.
  size_t bytes_scanned() const { return bytes_scanned_; }

 private:
  struct Region {
    uintptr_t begin, end;
  };
  static constexpr size_t kFilterBits = size_t{1} << 24;

  static uintptr_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

  static uint64_t hash_of(const std::byte* piece) {
    uint64_t half[2];
    std::memcpy(half, piece, kPiece);
    uint64_t h = (half[0] * 0x9e3779b97f4a7c15 ^ half[1]) * 0xbf58476d1ce4e5b9;
    return (h ^ h >> 29) * 0x94d049bb133111eb;
  }

  /// What can be written: heaps, stacks, data.
  static std::vector<Region> regions() {
    std::vector<Region> out;
    std::FILE* const maps = std::fopen("/proc/self/maps", "r");
    char line[512], mode[8];
    while (maps != nullptr && std::fgets(line, sizeof line, maps) != nullptr) {
      unsigned long begin = 0, end = 0;
      if (std::sscanf(line, "%lx-%lx %4s", &begin, &end, mode) == 3 && mode[0] == 'r' &&
          mode[1] == 'w')
        out.push_back({begin, end});
    }
    if (maps != nullptr) std::fclose(maps);
    return out;
  }

  void scan(int memory, Region region, void* window, size_t size,
            std::map<std::string, int64_t>& found) const {
    const auto* const bytes = static_cast<const std::byte*>(window);
    while (region.begin + kPiece <= region.end) {
      const size_t wanted = std::min(size, region.end - region.begin);
      const ssize_t count = ::pread(memory, window, wanted, static_cast<off_t>(region.begin));
      if (count < static_cast<ssize_t>(kPiece)) return;  // a guard page, a device
      const auto last = static_cast<size_t>(count) - kPiece;
      for (size_t at = 0; at <= last; ++at) {
        const uint64_t hash = hash_of(bytes + at);
        if ((filter_[hash % kFilterBits / 8] >> hash % 8 & 1) == 0) continue;
        if (const auto name = names_.find(hash); name != names_.end()) ++found[name->second];
      }
      bytes_scanned_ += last + 1;
      region.begin += last + 1;
    }
  }

  std::map<uint64_t, std::string> names_;
  std::vector<uint8_t> filter_ = std::vector<uint8_t>(kFilterBits / 8);
  mutable size_t bytes_scanned_ = 0;
};

}  // namespace passnorm::test
