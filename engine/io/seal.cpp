#include "engine/io/seal.hpp"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "engine/io/crypto.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm {
namespace {

static_assert(std::endian::native == std::endian::little, "LE64 is taken from memory as it lies");

constexpr std::string_view kMagic = "passnorm.sealed/1\n";
constexpr SealCost kMostSealCost{.ops = 16, .mem = uint64_t{1} << 30};
constexpr size_t kPiece = size_t{64} << 10;
constexpr size_t kExtra = crypto_secretstream_xchacha20poly1305_ABYTES;

/// The first bytes of a file, as they lie there.
struct [[gnu::packed]] Header {
  char magic[kMagic.size()];
  uint64_t ops;
  uint64_t mem;
  uint8_t salt[crypto_pwhash_SALTBYTES];
  uint8_t stream[crypto_secretstream_xchacha20poly1305_HEADERBYTES];
};
static_assert(sizeof(Header) == 74);

const uint8_t* bytes_at(const void* data) { return static_cast<const uint8_t*>(data); }

bool within_limits(const Header& h) {
  return h.ops >= kLeastSealCost.ops && h.ops <= kMostSealCost.ops && h.mem >= kLeastSealCost.mem &&
         h.mem <= kMostSealCost.mem;
}

SecretVector<uint8_t> key_of(const SecretText& passphrase, const Header& h) {
  require_sodium();
  SecretVector<uint8_t> key(crypto_secretstream_xchacha20poly1305_KEYBYTES);
  // An empty passphrase has no address, which the library must not be given.
  const char* const text = passphrase.size() > 0 ? passphrase.view().data() : "";
  if (crypto_pwhash(key.data(), key.size(), text, passphrase.size(), h.salt, h.ops, h.mem,
                    crypto_pwhash_ALG_ARGON2ID13) != 0)
    fail(Fault::kMemory, "out of memory: ", h.mem >> 20,
         " MiB are needed to turn the passphrase into a key");
  return key;
}

/// The state of a secret stream, wiped when it goes: it holds the key.
struct Stream {
  crypto_secretstream_xchacha20poly1305_state state;
  Stream() = default;
  ~Stream() {
    sodium_memzero(&state, sizeof state);
    wipe_stack();
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
};

}  // namespace

std::vector<std::byte> seal(std::span<const std::byte> plain, const SecretText& passphrase,
                            SealCost cost) {
  if (passphrase.empty()) fail(Fault::kUsage, "an empty passphrase seals nothing");
  require_sodium();
  Header header;
  std::ranges::copy(kMagic, header.magic);
  header.ops = cost.ops;
  header.mem = cost.mem;
  PASSNORM_CHECK(within_limits(header), cost.ops, " passes over ", cost.mem, " bytes");
  randombytes_buf(header.salt, sizeof header.salt);
  const SecretVector<uint8_t> key = key_of(passphrase, header);
  Stream stream;
  crypto_secretstream_xchacha20poly1305_init_push(&stream.state, header.stream, key.data());

  const size_t pieces = std::max<size_t>(1, (plain.size() + kPiece - 1) / kPiece);
  std::vector<std::byte> sealed(sizeof header + plain.size() + pieces * kExtra);
  std::memcpy(sealed.data(), &header, sizeof header);
  auto* to = reinterpret_cast<uint8_t*>(sealed.data()) + sizeof header;
  for (size_t i = 0; i < pieces; ++i) {
    const auto piece = plain.subspan(i * kPiece, std::min(kPiece, plain.size() - i * kPiece));
    crypto_secretstream_xchacha20poly1305_push(
        &stream.state, to, nullptr, bytes_at(piece.data()), piece.size(), bytes_at(&header),
        sizeof header,
        i + 1 == pieces ? crypto_secretstream_xchacha20poly1305_TAG_FINAL
                        : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
    to += piece.size() + kExtra;
  }
  return sealed;
}

bool is_sealed(std::span<const std::byte> bytes) {
  return bytes.size() >= kMagic.size() &&
         std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

SecretBytes unseal(std::string_view name, std::span<const std::byte> sealed,
                   const SecretText& passphrase) {
  Header header;
  if (!is_sealed(sealed)) fail(Fault::kInput, name, ": is not a sealed file");
  if (sealed.size() < sizeof header + kExtra)
    fail(Fault::kInput, name, ": cut off: ", sealed.size(), " bytes of a sealed file");
  std::memcpy(&header, sealed.data(), sizeof header);
  if (!within_limits(header))
    fail(Fault::kInput, name, ": its key needs ", uint64_t{header.ops}, " passes over ",
         uint64_t{header.mem}, " bytes; ", kLeastSealCost.ops, " to ", kMostSealCost.ops, " over ",
         kLeastSealCost.mem, " to ", kMostSealCost.mem, " are accepted");
  const auto refuse = [&] {
    fail(Fault::kSecret, name, ": wrong passphrase, or the file was changed");
  };
  const SecretVector<uint8_t> key = key_of(passphrase, header);
  Stream stream;
  if (crypto_secretstream_xchacha20poly1305_init_pull(&stream.state, header.stream, key.data()) !=
      0)
    refuse();

  const auto chunks = sealed.subspan(sizeof header);
  const size_t pieces = (chunks.size() + kPiece + kExtra - 1) / (kPiece + kExtra);
  const size_t last = chunks.size() - (pieces - 1) * (kPiece + kExtra);
  if (last < kExtra || (last == kExtra && pieces > 1)) refuse();
  SecretBytes plain(chunks.size() - pieces * kExtra);
  for (size_t i = 0; i < pieces; ++i) {
    const auto rest = chunks.subspan(i * (kPiece + kExtra));
    const auto chunk = rest.first(std::min(rest.size(), kPiece + kExtra));
    uint8_t tag = 0;
    if (crypto_secretstream_xchacha20poly1305_pull(
            &stream.state, reinterpret_cast<uint8_t*>(plain.data()) + i * kPiece, nullptr, &tag,
            bytes_at(chunk.data()), chunk.size(), bytes_at(&header), sizeof header) != 0)
      refuse();
    if ((tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL) != (i + 1 == pieces)) refuse();
  }
  return plain;
}

}  // namespace passnorm
