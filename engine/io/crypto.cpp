#include "engine/io/crypto.hpp"

#include <sodium.h>

#include <bit>

#include "kernels/runtime/check.hpp"

namespace passnorm {
namespace {

static_assert(std::endian::native == std::endian::little,
              "LE64 and the words of a stream are taken from memory as they lie");

}  // namespace

void require_sodium() {
  static const bool ready = sodium_init() >= 0;  // once, whichever thread comes first
  if (!ready) fail(Fault::kMachine, "libsodium found no source of random bytes on this system");
}

void random_bytes(std::span<uint8_t> bytes) {
  require_sodium();
  if (!bytes.empty()) randombytes_buf(bytes.data(), bytes.size());
}

void wipe(std::span<uint8_t> bytes) { sodium_memzero(bytes.data(), bytes.size()); }

void wipe_stack() {
  // The deepest of libsodium's, ChaCha20 for AVX2, reaches 2.5 KiB.
  sodium_stackzero(size_t{16} << 10);
}

bool constant_time_equal(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

Secret32::Secret32(std::span<const uint8_t, 32> bytes) { std::ranges::copy(bytes, bytes_.begin()); }

Secret32 Secret32::random() {
  Secret32 secret;
  random_bytes(secret.bytes_);
  return secret;
}

std::span<const uint8_t> HashPart::bytes() const {
  if (number_) return {reinterpret_cast<const uint8_t*>(&*number_), sizeof *number_};
  return {static_cast<const uint8_t*>(data_), size_};
}

/// BLAKE2b over msg(d, p..), of any output size.
struct Hasher::State {
  State(std::span<const uint8_t> key, std::string_view domain, size_t output_bytes) {
    require_sodium();
    PASSNORM_CHECK(
        crypto_generichash_blake2b_init(&blake2b, key.data(), key.size(), output_bytes) == 0,
        "output of ", output_bytes, " bytes");
    add(domain);
  }
  ~State() {
    sodium_memzero(&blake2b, sizeof blake2b);
    wipe_stack();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void add(const HashPart& part) {
    const std::span<const uint8_t> bytes = part.bytes();
    const uint64_t length = bytes.size();
    crypto_generichash_blake2b_update(&blake2b, reinterpret_cast<const uint8_t*>(&length),
                                      sizeof length);
    crypto_generichash_blake2b_update(&blake2b, bytes.data(), bytes.size());
  }
  void finish(std::span<uint8_t> out) {
    PASSNORM_CHECK(crypto_generichash_blake2b_final(&blake2b, out.data(), out.size()) == 0,
                   "a hash was finished twice");
  }

  crypto_generichash_blake2b_state blake2b;
};

Hasher::Hasher(std::string_view domain)
    : state_(std::make_unique<State>(std::span<const uint8_t>(), domain, sizeof(Hash256))) {}
Hasher::Hasher(const Secret32& key, std::string_view domain)
    : state_(std::make_unique<State>(key.bytes(), domain, sizeof(Hash256))) {}
Hasher::~Hasher() = default;

Hasher& Hasher::add(const HashPart& part) {
  state_->add(part);
  return *this;
}

Hash256 Hasher::finish() {
  Hash256 hash;
  state_->finish(hash);
  return hash;
}

Secret32 Hasher::finish_secret() {
  Secret32 secret;
  state_->finish(secret.bytes_);
  return secret;
}

Hash256 blake2b256(std::span<const std::byte> bytes) {
  require_sodium();
  Hash256 hash;
  crypto_generichash_blake2b(hash.data(), hash.size(),
                             reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), nullptr,
                             0);
  return hash;
}

Hash256 sha256(std::span<const std::byte> bytes) {
  Hash256 hash;
  crypto_hash_sha256(hash.data(), reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return hash;
}

Hash256 hash256(std::string_view domain, HashParts parts) {
  Hasher hasher(domain);
  for (const HashPart& part : parts) hasher.add(part);
  return hasher.finish();
}

Hash256 keyed_hash256(const Secret32& key, std::string_view domain, HashParts parts) {
  Hasher hasher(key, domain);
  for (const HashPart& part : parts) hasher.add(part);
  return hasher.finish();
}

SecretVector<uint8_t> keyed_bits(const Secret32& key, std::string_view domain, HashParts parts,
                                 int64_t n) {
  PASSNORM_CHECK(n >= 0, n, " bits");
  constexpr size_t kBlockBits = 512;
  SecretVector<uint8_t> bits(static_cast<size_t>(n));
  std::array<uint8_t, kBlockBits / 8> block;
  for (size_t j = 0; j < bits.size(); ++j) {
    if (j % kBlockBits == 0) {
      Hasher::State state(key.bytes(), domain, block.size());
      for (const HashPart& part : parts) state.add(part);
      state.add(uint64_t{j / kBlockBits});
      state.finish(block);
    }
    bits[j] = block[j % kBlockBits / 8] >> (j % 8) & 1;
  }
  wipe(block);
  return bits;
}

SecretVector<uint32_t> keyed_stream_u32(const Secret32& key, std::string_view domain,
                                        std::string_view name, int64_t n) {
  PASSNORM_CHECK(n >= 0 && n <= int64_t{1} << 36, n, " words");
  const Secret32 stream_key = Hasher(key, domain).add(name).finish_secret();
  constexpr uint8_t kNonce[crypto_stream_chacha20_ietf_NONCEBYTES] = {};
  SecretVector<uint32_t> words(static_cast<size_t>(n));
  if (words.empty()) return words;
  crypto_stream_chacha20_ietf(reinterpret_cast<uint8_t*>(words.data()),
                              words.size() * sizeof(uint32_t), kNonce, stream_key.bytes().data());
  wipe_stack();
  return words;
}

std::string to_hex(std::span<const uint8_t> bytes) {
  std::string text(2 * bytes.size() + 1, '\0');  // the terminating zero is written too
  sodium_bin2hex(text.data(), text.size(), bytes.data(), bytes.size());
  text.pop_back();
  return text;
}

std::vector<uint8_t> from_hex(std::string_view what, std::string_view text, size_t bytes) {
  std::vector<uint8_t> out(bytes);
  if (text.empty() && out.empty()) return out;
  if (text.size() != 2 * bytes || sodium_hex2bin(out.data(), out.size(), text.data(), text.size(),
                                                 nullptr, nullptr, nullptr) != 0)
    fail(Fault::kInput, what, ": expected ", 2 * bytes, " hexadecimal digits");
  return out;
}

}  // namespace passnorm
