// Hashes, keys and everything derived from a key, by libsodium. The formulas here are the whole
// definition: with them and the primitives' standards a third party recomputes every derived bit.
//
//   LE64(n)     n as 8 bytes, least significant first
//   enc(x)      LE64(number of bytes of x) || x
//   msg(d, p..) enc(d) || enc(p1) || ... || enc(pn). d is the ASCII domain string: what the hash is
//               for. A part that is an integer stands for its LE64. Two different lists never give
//               the same message.
//   B256, B512  BLAKE2b (RFC 7693) with 32 and 64 bytes of output, no salt, no personalisation
//   B256_k      the same with the 32-byte key k
//
//   hash256(d, p..)          = B256(msg(d, p..))
//   keyed_hash256(k, d, p..) = B256_k(msg(d, p..))
//   keyed_bits(k, d, p..)[j] = bit j mod 8 (0 is the least significant) of byte (j mod 512) div 8,
//                              of B512_k(msg(d, p.., LE64(j div 512)))
//   keyed_stream_u32(k, d, name)[i] = word i, little-endian, of the ChaCha20 key stream (RFC 8439)
//                              with key keyed_hash256(k, d, name), nonce 0 and block counter from 0
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "engine/io/secret_bytes.hpp"

namespace passnorm {

using Hash256 = std::array<uint8_t, 32>;

/// Before the first use of libsodium, from any thread; every function here does it. Error(kMachine)
/// when the system has no source of random bytes.
void require_sodium();

/// Fills with random bytes of the operating system.
void random_bytes(std::span<uint8_t> bytes);

/// Overwrites with zeros; never optimised away.
void wipe(std::span<uint8_t> bytes);

/// Overwrites the stack below the caller, where ciphers and hashes that it called left their keys.
void wipe_stack();

/// Compares in a time that depends on the lengths only.
bool constant_time_equal(std::span<const uint8_t> a, std::span<const uint8_t> b);

/// A secret key of 32 bytes, wiped when it goes; every copy wipes itself.
class Secret32 {
 public:
  explicit Secret32(std::span<const uint8_t, 32> bytes);
  ~Secret32() { wipe(bytes_); }
  Secret32(const Secret32&) = default;
  Secret32& operator=(const Secret32&) = default;

  static Secret32 random();

  std::span<const uint8_t, 32> bytes() const { return bytes_; }
  bool operator==(const Secret32& other) const { return constant_time_equal(bytes_, other.bytes_); }

 private:
  friend class Hasher;
  Secret32() = default;
  std::array<uint8_t, 32> bytes_{};
};

/// Bytes in one piece, but no literal: that is text, without its terminating zero.
template <class R>
concept ByteRange = std::ranges::contiguous_range<R> && !std::is_array_v<R> &&
                    (sizeof(std::ranges::range_value_t<R>) == 1);

/// One part of a message: text, bytes or an unsigned integer. Refers to what it was made from: for
/// arguments, not for keeping.
class HashPart {  // NOLINTBEGIN: implicit constructors, made for arguments
 public:
  HashPart(const char* text) : HashPart(std::string_view(text)) {}
  template <ByteRange R>
  HashPart(const R& bytes) : data_(std::ranges::data(bytes)), size_(std::ranges::size(bytes)) {}
  template <std::unsigned_integral T>
  HashPart(T number) : number_(number) {}  // NOLINTEND

  /// x of enc(x).
  std::span<const uint8_t> bytes() const;

 private:
  std::optional<uint64_t> number_;
  const void* data_ = nullptr;
  size_t size_ = 0;
};
using HashParts = std::initializer_list<HashPart>;

/// B256 of the bytes as they are, for files: what `b2sum -l 256` prints.
Hash256 blake2b256(std::span<const std::byte> bytes);

/// SHA-256 (FIPS 180-4) of the bytes as they are, for what other tools check too: `sha256sum`.
Hash256 sha256(std::span<const std::byte> bytes);

/// hash256 or, with a key, keyed_hash256 of parts that come one after another; finish() ends it.
class Hasher {
 public:
  explicit Hasher(std::string_view domain);
  Hasher(const Secret32& key, std::string_view domain);
  ~Hasher();

  Hasher& add(const HashPart& part);
  Hash256 finish();
  /// The same for a hash that is a secret itself.
  Secret32 finish_secret();

  struct State;  ///< crypto.cpp

 private:
  std::unique_ptr<State> state_;
};

Hash256 hash256(std::string_view domain, HashParts parts);
Hash256 keyed_hash256(const Secret32& key, std::string_view domain, HashParts parts);

/// n values 0 or 1.
SecretVector<uint8_t> keyed_bits(const Secret32& key, std::string_view domain, HashParts parts,
                                 int64_t n);

/// n words, at most 2^36 (the end of the block counter).
SecretVector<uint32_t> keyed_stream_u32(const Secret32& key, std::string_view domain,
                                        std::string_view name, int64_t n);

/// Two lower-case digits per byte.
std::string to_hex(std::span<const uint8_t> bytes);

/// Error(kInput) that names `what` unless text is exactly `bytes` pairs of hexadecimal digits, of
/// either case.
std::vector<uint8_t> from_hex(std::string_view what, std::string_view text, size_t bytes);

}  // namespace passnorm
