// Finds pieces of secrets anywhere in the memory of this process: in what is in use and in what was
// freed.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
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

  /// Every piece of `size` bytes, at least kPiece, that starts at a multiple of `step`: any copy of
  /// size + step - 1 bytes or more is found. A piece must be so long that no other secret has it.
  void add(const std::string& what, std::span<const std::byte> secret, size_t step = kPiece,
           size_t size = kPiece) {
    const auto known = std::ranges::find(names_, what);
    const auto name = static_cast<size_t>(known - names_.begin());
    if (known == names_.end()) names_.push_back(what);
    counts_.resize(names_.size());
    longest_ = std::max(longest_, size);
    for (size_t at = 0; at + size <= secret.size(); at += step) {
      const uint64_t hash = hash_of(secret.data() + at);
      pieces_.emplace(hash, Piece{name, size, hash_of(secret.subspan(at, size))});
      filter_[hash % kFilterBits / 8] |= static_cast<uint8_t>(1 << hash % 8);
    }
  }

  /// name -> number of pieces found, of those that were added. The search itself takes nothing from
  /// the heap: it would write over what was freed there.
  std::map<std::string, int64_t> found() const {
    // Pages of our own: what is copied here must not be searched itself, and is gone afterwards.
    void* const mapped =
        ::mmap(nullptr, sizeof(Area), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    Area& area = *static_cast<Area*>(mapped);
    const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    EXPECT_GE(memory, 0);
    std::ranges::fill(counts_, 0);
    bytes_scanned_ = 0;
    const uintptr_t own = address(mapped), own_end = own + sizeof(Area);
    for (const Region& region : writable(area)) {
      // Neighbours may have been merged into one region: leave out the own pages only.
      scan(memory, {region.begin, std::min(region.end, std::max(region.begin, own))}, area);
      scan(memory, {std::max(region.begin, std::min(region.end, own_end)), region.end}, area);
    }
    ::close(memory);
    ::munmap(mapped, sizeof(Area));
    std::map<std::string, int64_t> found;
    for (size_t i = 0; i < names_.size(); ++i)
      if (counts_[i] > 0) found[names_[i]] = counts_[i];
    return found;
  }
  /// In the last search.
  size_t bytes_scanned() const { return bytes_scanned_; }

 private:
  struct Region {
    uintptr_t begin, end;
  };
  struct Piece {
    size_t name, size;
    uint64_t hash;  ///< of all of it
  };
  /// What a search needs, in one mapping.
  struct Area {
    static constexpr size_t kRegions = size_t{1} << 16, kText = size_t{8} << 20,
                            kWindow = size_t{1} << 20;
    std::array<std::byte, kWindow> window;
    std::array<char, kText> maps;
    std::array<Region, kRegions> regions;
  };
  static constexpr size_t kFilterBits = size_t{1} << 24;

  static uintptr_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

  static uint64_t hash_of(std::span<const std::byte> piece) {
    uint64_t hash = 0;
    for (const std::byte b : piece) hash = (hash ^ static_cast<uint64_t>(b)) * 0x9e3779b97f4a7c15;
    return hash;
  }
  static uint64_t hash_of(const std::byte* piece) {
    uint64_t half[2];
    std::memcpy(half, piece, kPiece);
    uint64_t h = (half[0] * 0x9e3779b97f4a7c15 ^ half[1]) * 0xbf58476d1ce4e5b9;
    return (h ^ h >> 29) * 0x94d049bb133111eb;
  }

  /// What can be written: heaps, stacks, data.
  static std::span<const Region> writable(Area& area) {
    const int maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    for (ssize_t count = 1; maps >= 0 && count > 0 && size < Area::kText;) {
      count = ::read(maps, area.maps.data() + size, Area::kText - size);
      if (count > 0) size += static_cast<size_t>(count);
    }
    ::close(maps);
    // begin-end rw..
    size_t n = 0;
    const char *at = area.maps.data(), *const end = at + size;
    while (at < end && n < Area::kRegions) {
      Region& region = area.regions[n];
      at = std::from_chars(at, end, region.begin, 16).ptr + 1;
      at = std::from_chars(at, end, region.end, 16).ptr + 1;
      n += at + 1 < end && at[0] == 'r' && at[1] == 'w';
      at = std::find(at, end, '\n') + 1;
    }
    EXPECT_TRUE(size > 0 && size < Area::kText && n < Area::kRegions) << "not all is searched";
    return {area.regions.data(), n};
  }

  void scan(int memory, Region region, Area& area) const {
    while (region.begin + kPiece <= region.end) {
      const size_t wanted = std::min(Area::kWindow, region.end - region.begin);
      const ssize_t count =
          ::pread(memory, area.window.data(), wanted, static_cast<off_t>(region.begin));
      if (count < static_cast<ssize_t>(kPiece)) return;  // a guard page, a device
      const auto bytes = std::span<const std::byte>(area.window).first(static_cast<size_t>(count));
      const bool is_last = bytes.size() < Area::kWindow;
      // What starts behind this may end in the next window.
      const size_t starts = bytes.size() - (is_last ? kPiece : longest_) + 1;
      for (size_t at = 0; at < starts; ++at) {
        const uint64_t hash = hash_of(bytes.data() + at);
        if ((filter_[hash % kFilterBits / 8] >> hash % 8 & 1) == 0) continue;
        const auto [first, last] = pieces_.equal_range(hash);
        for (auto it = first; it != last; ++it) {
          const Piece& piece = it->second;
          if (at + piece.size > bytes.size() ||
              hash_of(bytes.subspan(at, piece.size)) != piece.hash)
            continue;
          ++counts_[piece.name];
          break;  // equal pieces of two names are one finding
        }
      }
      bytes_scanned_ += starts;
      if (is_last) return;
      region.begin += starts;
    }
  }

  std::vector<std::string> names_;
  mutable std::vector<int64_t> counts_;    ///< by name, of the last search
  std::multimap<uint64_t, Piece> pieces_;  ///< by the hash of their first kPiece bytes
  size_t longest_ = kPiece;
  std::vector<uint8_t> filter_ = std::vector<uint8_t>(kFilterBits / 8);
  mutable size_t bytes_scanned_ = 0;
};

}  // namespace passnorm::test
