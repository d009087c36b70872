// Sealed files: the format as an independent program writes it, and no change that goes unnoticed.
#include "engine/io/seal.hpp"

#include <gtest/gtest.h>
#include <sodium.h>

#include <cstring>

#include "engine/io/crypto.hpp"
#include "tests/support/files.hpp"

namespace passnorm::test {
namespace {

const SecretText kPassphrase("correct horse battery staple");

std::vector<std::byte> seal_quickly(std::span<const std::byte> plain) {
  return seal(plain, kPassphrase, kLeastSealCost);
}
std::vector<std::byte> pattern(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 % 251);
  return bytes;
}
std::string hex(std::span<const std::byte> bytes) {
  return to_hex({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

/// While it lives libsodium's random bytes are 0, 1, 2.. for a salt and 100, 101.. for the header
/// of a stream, which are told apart by their sizes.
class KnownRandom {
 public:
  KnownRandom() {
    require_sodium();
    static randombytes_implementation known = randombytes_sysrandom_implementation;
    known.buf = [](void* to, size_t size) {
      for (size_t i = 0; i < size; ++i)
        static_cast<uint8_t*>(to)[i] = static_cast<uint8_t>(i + (size == 24 ? 100 : 0));
    };
    randombytes_set_implementation(&known);
  }
  ~KnownRandom() { randombytes_set_implementation(&randombytes_sysrandom_implementation); }
};

/// From a program that shares nothing with libsodium: argon2-cffi (the reference implementation of
/// Argon2), and HChaCha20, ChaCha20 and Poly1305 written in Python from RFC 8439 and the draft of
/// XChaCha20.
constexpr const char* kKnown =
    "706173736e6f726d2e7365616c65642f310a0200000000000000004c000000000000000102030405060708090a0b"
    "0c0d0e0f6465666768696a6b6c6d6e6f707172737475767778797a7be83ee9fb7e8bf0bf6dac08e448c151797d5b"
    "151a6bc1041bbfc9a0f7000d0eff8fda723fe658eb5cbef0fe45a205d3148dd661690c3a5b8dca03a651";
constexpr std::string_view kFox = "the quick brown fox jumps over the lazy dog";

TEST(Seal, OpensWhatAnIndependentProgramWrote) {
  const std::vector<uint8_t> sealed = from_hex("known", kKnown, std::strlen(kKnown) / 2);
  EXPECT_EQ(text_of(unseal("known", std::as_bytes(std::span(sealed)), kPassphrase)), kFox);
}

TEST(Seal, WritesWhatAnIndependentProgramWrites) {
  const KnownRandom known;
  EXPECT_EQ(hex(seal(bytes_of(kFox), kPassphrase, {.ops = 2, .mem = 19456})), kKnown);
  // Two pieces; the hash and the last piece.
  const std::vector<std::byte> two = seal_quickly(pattern(65536 + 100));
  EXPECT_EQ(to_hex(blake2b256(two)),
            "1cd8464628ec97ea9ffc4e552ae3b084824c654c8fb94f87ec57266ac933c904");
  EXPECT_EQ(hex(std::span(two).last(117)).substr(0, 64),
            "455f45eddd5fac0cd2ad0a3c61b0d491631bec6cdc42530da11db772b65c3783");
}

TEST(Seal, GivesBackWhatWasSealed) {
  for (const size_t size : {0, 1, 65535, 65536, 65537, 2 * 65536, 200'000}) {
    const std::vector<std::byte> plain = pattern(size), sealed = seal_quickly(plain);
    EXPECT_TRUE(is_sealed(sealed));
    EXPECT_EQ(sealed.size(), 74 + size + 17 * std::max<size_t>(1, (size + 65535) / 65536));
    EXPECT_TRUE(std::ranges::equal(unseal("f", sealed, kPassphrase), plain)) << size;
  }
  EXPECT_NE(seal_quickly(pattern(9)), seal_quickly(pattern(9))) << "salt and header are drawn";
}

void expect_changed(std::span<const std::byte> sealed, const std::string& how) {
  SCOPED_TRACE(how);
  EXPECT_EQ(refusal(Fault::kSecret, [&] { unseal("alice.passport", sealed, kPassphrase); }),
            "alice.passport: wrong passphrase, or the file was changed");
}

TEST(Seal, AnotherPassphraseDoesNotOpenIt) {
  const std::vector<std::byte> sealed = seal_quickly(pattern(50));
  for (const char* wrong : {"", "correct horse battery stapl", "correct horse battery staple ",
                            "correct horse battery staplf", "Correct horse battery staple"})
    EXPECT_CONTAINS(
        refusal(Fault::kSecret, [&] { unseal("alice.passport", sealed, SecretText(wrong)); }),
        "wrong passphrase");
  refusal(Fault::kUsage, [] { seal(pattern(3), SecretText(), kLeastSealCost); });
}

TEST(Seal, AnyChangedBitShows) {
  const std::vector<std::byte> good = seal_quickly(pattern(40));
  size_t refused = 0;
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    // Bits of the parameters that ask for 128 MiB and more take their time and show nothing new.
    if (bit >= 8 * 26 + 27 && bit <= 8 * 26 + 30) continue;
    std::vector<std::byte> bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    try {
      unseal("f", bad, kPassphrase);
      ADD_FAILURE() << "bit " << bit << " may change";
    } catch (const Error& e) {
      const bool parameter = bit < 8 * 34;  // may be out of bounds, or no seal at all
      EXPECT_TRUE(e.fault() == Fault::kSecret || (parameter && e.fault() == Fault::kInput))
          << "bit " << bit << ": " << e.what();
      ++refused;
    }
  }
  EXPECT_EQ(refused, 8 * good.size() - 4);
}

TEST(Seal, AnyOtherEndShows) {
  const std::vector<std::byte> good = seal_quickly(pattern(60));
  for (size_t size = 0; size < good.size(); ++size) {
    const auto cut = std::span(good).first(size);
    if (size < 74 + 17)
      refusal(Fault::kInput, [&] { unseal("f", cut, kPassphrase); });
    else
      expect_changed(cut, concat("cut to ", size));
  }
  // In the second piece, where there are fewer bytes than its tag and mark need.
  const std::vector<std::byte> two = seal_quickly(pattern(65536 + 1));
  for (size_t more = 0; more <= 17; ++more)
    expect_changed(std::span(two).first(74 + 65536 + 17 + more), concat(more, " of a piece"));
  for (const size_t more : {size_t{1}, size_t{17}, size_t{70'000}}) {
    std::vector<std::byte> longer = good;
    longer.resize(good.size() + more);
    expect_changed(longer, concat(more, " bytes more"));
  }
}

TEST(Seal, PiecesStayInTheirPlaces) {
  constexpr size_t kHeader = 74, kChunk = 65536 + 17;
  const std::vector<std::byte> plain = pattern(3 * 65536), good = seal_quickly(plain),
                               other = seal_quickly(plain);
  ASSERT_EQ(good.size(), kHeader + 3 * kChunk);
  const auto assemble =
      [&](const std::vector<std::pair<const std::vector<std::byte>*, int>>& from) {
        std::vector<std::byte> out(good.begin(), good.begin() + kHeader);
        for (const auto& [file, i] : from) {
          const auto at =
              file->begin() + static_cast<int64_t>(kHeader + static_cast<size_t>(i) * kChunk);
          out.insert(out.end(), at, at + kChunk);
        }
        return out;
      };
  ASSERT_EQ(assemble({{&good, 0}, {&good, 1}, {&good, 2}}), good);
  expect_changed(assemble({{&good, 1}, {&good, 0}, {&good, 2}}), "exchanged");
  expect_changed(assemble({{&good, 0}, {&good, 2}}), "one left out");
  expect_changed(assemble({{&good, 0}, {&good, 1}}), "the last left out");
  expect_changed(assemble({{&good, 0}, {&good, 1}, {&good, 1}, {&good, 2}}), "one twice");
  expect_changed(assemble({{&good, 0}, {&good, 1}, {&good, 2}, {&good, 2}}), "the last twice");
  expect_changed(assemble({{&good, 0}, {&other, 1}, {&good, 2}}), "one of another file");
}

/// A stream that says where it ends elsewhere than where the file does: only its writer can make
/// one, and it is refused all the same.
TEST(Seal, TheEndIsTheEndOfTheStream) {
  // Two whole messages, the first of them FINAL: by libsodium itself, as the header documents.
  const std::vector<std::byte> good = seal_quickly(pattern(65536 + 9));
  for (const uint8_t first_tag : {crypto_secretstream_xchacha20poly1305_TAG_FINAL,
                                  crypto_secretstream_xchacha20poly1305_TAG_MESSAGE})
    for (const uint8_t last_tag : {crypto_secretstream_xchacha20poly1305_TAG_FINAL,
                                   crypto_secretstream_xchacha20poly1305_TAG_MESSAGE}) {
      std::vector<uint8_t> file(74 + 65536 + 17 + 9 + 17);
      std::memcpy(file.data(), good.data(), 50);
      std::array<uint8_t, 32> key;
      ASSERT_EQ(crypto_pwhash(key.data(), key.size(), kPassphrase.view().data(), kPassphrase.size(),
                              file.data() + 34, 1, 8192, crypto_pwhash_ALG_ARGON2ID13),
                0);
      crypto_secretstream_xchacha20poly1305_state state;
      crypto_secretstream_xchacha20poly1305_init_push(&state, file.data() + 50, key.data());
      const std::vector<std::byte> plain = pattern(65536 + 9);
      const auto* from = reinterpret_cast<const uint8_t*>(plain.data());
      crypto_secretstream_xchacha20poly1305_push(&state, file.data() + 74, nullptr, from, 65536,
                                                 file.data(), 74, first_tag);
      crypto_secretstream_xchacha20poly1305_push(&state, file.data() + 74 + 65536 + 17, nullptr,
                                                 from + 65536, 9, file.data(), 74, last_tag);
      const auto sealed = std::as_bytes(std::span(file));
      if (first_tag == crypto_secretstream_xchacha20poly1305_TAG_MESSAGE &&
          last_tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL)
        EXPECT_TRUE(std::ranges::equal(unseal("f", sealed, kPassphrase), plain));
      else
        expect_changed(sealed, concat("tags ", int{first_tag}, " ", int{last_tag}));
    }
}

TEST(Seal, ParametersBeyondTheLimitsAreRefusedBeforeMemoryIsTaken) {
  const std::vector<std::byte> good = seal_quickly(pattern(5));
  const auto with = [&](size_t at, uint64_t value) {
    std::vector<std::byte> bad = good;
    std::memcpy(bad.data() + at, &value, sizeof value);
    return refusal(Fault::kInput, [&] { unseal("f", bad, kPassphrase); });
  };
  constexpr size_t kOps = 18, kMem = 26;
  for (const uint64_t ops : {uint64_t{0}, uint64_t{17}, uint64_t{1} << 40, ~uint64_t{0}})
    EXPECT_CONTAINS(with(kOps, ops), concat(ops, " passes over 8192 bytes"));
  for (const uint64_t mem :
       {uint64_t{0}, uint64_t{8191}, (uint64_t{1} << 30) + 1, uint64_t{1} << 50, ~uint64_t{0}})
    EXPECT_CONTAINS(with(kMem, mem), concat("1 passes over ", mem, " bytes"));
  refusal(Fault::kBug, [] { seal({}, kPassphrase, {.ops = 17, .mem = 8192}); });
  refusal(Fault::kBug, [] { seal({}, kPassphrase, {.ops = 1, .mem = 4096}); });
}

TEST(Seal, OtherFilesAreNotSealed) {
  EXPECT_FALSE(is_sealed({}));
  EXPECT_FALSE(is_sealed(bytes_of("passnorm.sealed/1")));
  EXPECT_FALSE(is_sealed(bytes_of("passnorm.sealed/2\n")));
  EXPECT_TRUE(is_sealed(bytes_of("passnorm.sealed/1\n")));
  EXPECT_CONTAINS(refusal(Fault::kInput, [] { unseal("f", bytes_of("{}"), kPassphrase); }),
                  "not a sealed file");
}

}  // namespace
}  // namespace passnorm::test
