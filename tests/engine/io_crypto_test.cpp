// Derived values are fixed for ever: passports and certificates that exist would no longer open.
// The expected numbers were computed by a second implementation, in Python from the formulas in
// crypto.hpp (hashlib.blake2b, ChaCha20 after RFC 8439).
#include <algorithm>
#include <numeric>
#include <set>

#include "engine/io/crypto.hpp"
#include "tests/support/files.hpp"

namespace passnorm::test {
namespace {

constexpr auto kKeyBytes = [] {
  std::array<uint8_t, 32> bytes{};
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  return bytes;
}();
const std::array<uint8_t, 3> kBytes{0, 1, 2};

TEST(Crypto, Blake2bKnownAnswers) {
  EXPECT_EQ(to_hex(blake2b256(bytes_of(""))),
            "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
  EXPECT_EQ(to_hex(blake2b256(bytes_of("abc"))),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

TEST(Crypto, Sha256KnownAnswers) {
  EXPECT_EQ(to_hex(sha256(bytes_of(""))),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256(bytes_of("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Crypto, HashOfParts) {
  EXPECT_EQ(to_hex(hash256("d", {})),
            "53a8a6dd44749d5c27f281337f0ab0e33e4741d557175696fa3e2457cd625234");
  EXPECT_EQ(to_hex(hash256("passnorm-test/1", {"alice", kBytes, 7u})),
            "dee22ae1e7c757a32d84f3a440dcae61a75fa1364d554fbe9fbf5ce53ccd6889");
  EXPECT_EQ(to_hex(keyed_hash256(Secret32(kKeyBytes), "passnorm-test/1", {"alice", kBytes, 7u})),
            "988024977f0dea03cfc1ac7ce50b535f62003f7f7b366a661b289f3d7165e8a3");
  Hasher one_after_another("passnorm-test/1");
  one_after_another.add("alice").add(kBytes).add(7u);
  EXPECT_EQ(one_after_another.finish(), hash256("passnorm-test/1", {"alice", kBytes, 7u}));
}

TEST(Crypto, DifferentPartsGiveDifferentHashes) {
  const Secret32 key(kKeyBytes);
  const std::string zero("\0", 1);
  const std::set<Hash256> hashes = {
      hash256("d", {}),
      hash256("d", {""}),
      hash256("d", {"", ""}),
      hash256("d", {"ab"}),
      hash256("d", {"a", "b"}),
      hash256("da", {"b"}),
      hash256("", {"d"}),
      hash256("d", {"ab", ""}),
      hash256("d", {"", "ab"}),
      hash256("d", {zero}),
      hash256("d", {0u}),
      keyed_hash256(key, "d", {}),
      keyed_hash256(key, "d", {""}),
  };
  EXPECT_EQ(hashes.size(), 13u);
}

TEST(Crypto, APartIsItsBytesWhateverItsType) {
  const std::string text = "abc";
  const std::vector<uint8_t> vector = {'a', 'b', 'c'};
  for (const Hash256& hash : {hash256("d", {text}), hash256("d", {std::string_view(text)}),
                              hash256("d", {vector}), hash256("d", {bytes_of(text)})})
    EXPECT_EQ(hash, hash256("d", {"abc"}));
  EXPECT_EQ(hash256("d", {uint64_t{0x0807060504030201}}), hash256("d", {"\1\2\3\4\5\6\7\x08"}));
  EXPECT_EQ(hash256("d", {uint8_t{5}}), hash256("d", {uint64_t{5}}));
}

TEST(Crypto, AHashIsFinishedOnce) {
  Hasher hasher("d");
  hasher.finish();
  refusal(Fault::kBug, [&] { hasher.finish(); });
}

TEST(Crypto, KeyedBits) {
  const auto bits = keyed_bits(Secret32(kKeyBytes), "passnorm-test/bits", {"conv1"}, 1100);
  ASSERT_EQ(bits.size(), 1100u);
  EXPECT_EQ(to_hex(blake2b256(std::as_bytes(std::span(bits)))),
            "67e28107d54fcf48876f0f83e9c35fda80ed57e6e24f064ad63d9edc5ec92e17");
  const auto fewer = keyed_bits(Secret32(kKeyBytes), "passnorm-test/bits", {"conv1"}, 513);
  EXPECT_TRUE(std::ranges::equal(fewer, std::span(bits).first(513)));
  EXPECT_TRUE(keyed_bits(Secret32(kKeyBytes), "passnorm-test/bits", {"conv1"}, 0).empty());
  EXPECT_NE(keyed_bits(Secret32(kKeyBytes), "passnorm-test/bits", {"conv2"}, 1100), bits);
}

TEST(Crypto, KeyedStream) {
  const auto words =
      keyed_stream_u32(Secret32(kKeyBytes), "passnorm-test/stream", "conv1.gamma", 40);
  ASSERT_EQ(words.size(), 40u);
  EXPECT_EQ(words[0], 0x495b9c1au);
  EXPECT_EQ(words[1], 0x228838bcu);
  EXPECT_EQ(words[15], 0x0d98e99eu);
  EXPECT_EQ(words[16], 0xaba68075u);  // the second block
  EXPECT_EQ(words[39], 0xf0c3fe3fu);
  const auto fewer =
      keyed_stream_u32(Secret32(kKeyBytes), "passnorm-test/stream", "conv1.gamma", 17);
  EXPECT_TRUE(std::ranges::equal(fewer, std::span(words).first(17)));
  EXPECT_TRUE(keyed_stream_u32(Secret32(kKeyBytes), "passnorm-test/stream", "", 0).empty());
  EXPECT_NE(keyed_stream_u32(Secret32(kKeyBytes), "passnorm-test/stream", "conv1.beta", 40), words);
  EXPECT_NE(keyed_stream_u32(Secret32(kKeyBytes), "passnorm-test/other", "conv1.gamma", 40), words);
}

TEST(Crypto, Secrets) {
  const Secret32 a = Secret32::random(), b = Secret32::random();
  EXPECT_FALSE(a == b);
  EXPECT_TRUE(Secret32(a) == a);
  alignas(Secret32) std::byte memory[sizeof(Secret32)];
  std::ranges::fill(memory, std::byte{0xaa});
  auto* secret = new (memory) Secret32(kKeyBytes);
  secret->~Secret32();
  const volatile std::byte* left = memory;
  for (size_t i = 0; i < sizeof memory; ++i) EXPECT_TRUE(left[i] == std::byte{0}) << i;
}

TEST(Crypto, ConstantTimeEqual) {
  const std::vector<uint8_t> a = {1, 2, 3};
  EXPECT_TRUE(constant_time_equal(a, std::vector<uint8_t>{1, 2, 3}));
  EXPECT_FALSE(constant_time_equal(a, std::vector<uint8_t>{1, 2, 4}));
  EXPECT_FALSE(constant_time_equal(a, std::vector<uint8_t>{1, 2}));
  EXPECT_TRUE(constant_time_equal({}, {}));
}

TEST(Crypto, Hex) {
  const std::vector<uint8_t> bytes = {0x00, 0x7f, 0xff, 0xa5};
  EXPECT_EQ(to_hex(bytes), "007fffa5");
  EXPECT_EQ(to_hex({}), "");
  EXPECT_EQ(from_hex("t", "007fFFa5", 4), bytes);
  EXPECT_TRUE(from_hex("t", "", 0).empty());
  for (const char* bad : {"", "007fffa", "007fffa50", "007fffg5", "00 7fffa5", "0x7fffa5",
                          "007fffa500", "007fff\xc3\xa4"})
    EXPECT_EQ(refusal(Fault::kInput, [&] { from_hex("alice.passport: seed", bad, 4); }),
              "alice.passport: seed: expected 8 hexadecimal digits");
}

}  // namespace
}  // namespace passnorm::test
