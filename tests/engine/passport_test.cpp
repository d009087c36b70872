// Signatures, keys, bound bits, schemes, and passports opened for a network.
#include "engine/passport/passport.hpp"

#include <set>

#include "engine/ops/ops.hpp"
#include "engine/passport/pass.hpp"
#include "tests/support/files.hpp"

namespace passnorm::test {
namespace {

Secret32 counting_seed() {
  std::array<uint8_t, 32> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  return Secret32(bytes);
}
Site site(const std::string& name, int64_t channels = 16) {
  return {name,
          {.n = 1, .h = 5, .w = 4, .c = 2, .o = channels, .kh = 3, .kw = 3, .stride = 1, .pad = 1}};
}
std::vector<Site> sites() { return {site("conv1"), site("layer4.0.convbn_2", 32)}; }
Passport bound() {
  return Passport::random(sites(), counting_seed(), Signature::from_text("(c) Alice 2026"));
}

std::string text(std::span<const int8_t> bits, size_t first = 0, size_t count = 16) {
  std::string out;
  for (size_t i = first; i < first + count; ++i)
    out += bits[i] == 1 ? '+' : bits[i] == -1 ? '-' : '?';
  return out;
}

TEST(Signature, AsciiIsEightBitsACharacterFromTheMostSignificant) {
  EXPECT_EQ(text(ascii_bits("Ab!"), 0, 24), "-+-----+-++---+---+----+");
  EXPECT_EQ(ascii_bits("").size(), 0u);
  EXPECT_EQ(text(ascii_bits(std::string("\0\x7f", 2))), "---------+++++++");
  EXPECT_CONTAINS(refusal(Fault::kUsage, [] { ascii_bits("caf\xc3\xa9"); }), "ASCII");
}

TEST(Signature, AsciiFitsItsSites) {
  const std::vector<Site> s{site("a", 16), site("b", 24)};
  const Passport p = Passport::random(s, counting_seed(), Signature::from_ascii("Ab"));
  EXPECT_EQ(text(p.sites()[0].bits), "-+-----+-++---+-");  // len * 8 == C
  EXPECT_EQ(text(p.sites()[1].bits), "-+-----+-++---+-");  // the same at every site
  EXPECT_NE(text(p.sites()[1].bits, 16, 8), "--------");   // the rest is random
  const std::string message = refusal(
      Fault::kUsage, [&] { Passport::random(s, counting_seed(), Signature::from_ascii("Ab!")); });
  EXPECT_CONTAINS(message, "24 bits do not fit the 16 channels of a");
  EXPECT_CONTAINS(message, "at most 2 characters");
}

/// Values of an independent derivation (Python: hashlib.blake2b and RFC 8439) from the formulas in
/// passport.hpp and crypto.hpp.
TEST(RandomPassport, IsWhatTheFormulasGive) {
  const Passport p =
      Passport::random(std::vector<Site>{site("conv1", 520), site("layer4.0.convbn_2")},
                       counting_seed(), Signature::from_text("(c) Alice 2026"));
  const SitePassport& first = p.sites()[0];
  ASSERT_EQ(first.scale_key.size(), 40u);
  ASSERT_EQ(first.shift_key.size(), 40u);
  EXPECT_EQ(first.scale_key[0], -0.8218203783035278f);
  EXPECT_EQ(first.scale_key[1], 0.958843469619751f);
  EXPECT_EQ(first.scale_key[39], -0.8014861345291138f);
  EXPECT_EQ(first.shift_key[0], 0.6534208059310913f);
  EXPECT_EQ(first.shift_key[39], 0.25999486446380615f);
  EXPECT_EQ(p.sites()[1].scale_key[0], 0.352825403213501f);
  EXPECT_EQ(p.sites()[1].scale_key[2], -0.10046756267547607f);
  EXPECT_EQ(text(first.bits), "-+-+---+---+----");
  EXPECT_EQ(text(first.bits, 512, 8), "+++-++++");
  EXPECT_EQ(p.bit_count(), 536);

  const Passport free =
      Passport::random(std::vector<Site>{site("conv1")}, counting_seed(), Signature::random());
  EXPECT_EQ(text(free.sites()[0].bits), "-+-+-+---+-+++-+");
  EXPECT_EQ(free.sites()[0].scale_key, first.scale_key);
}

TEST(GivenKeys, BitsAreBoundToTheirBytes) {
  const Site a{"a", {.n = 1, .h = 2, .w = 2, .c = 1, .o = 16}};
  const SitePassport keys{a, {.5f, -.25f, 1, 2}, {0, 0, -1, .125f}, {}};
  const Passport p =
      Passport::from_keys({keys}, Passport::Source::kImage, Signature::from_text("text"));
  EXPECT_EQ(text(p.sites()[0].bits), "++-+--+-++--++++");  // the independent derivation
  EXPECT_TRUE(p.bits_bound());
  SitePassport other = keys;
  other.shift_key[3] = .25f;
  EXPECT_NE(Passport::from_keys({other}, Passport::Source::kImage, Signature::from_text("text"))
                .sites()[0]
                .bits,
            p.sites()[0].bits);
}

/// What a forger may change after the fact, by way of the file.
TEST(BoundBits, AnyChangeShows) {
  const TemporaryFolder folder;
  bound().save(folder.path("p"));
  ASSERT_TRUE(bound().bits_bound());
  ASSERT_TRUE(Passport::load(folder.path("p")).bits_bound());
  const std::vector<std::byte> original = read_file(folder.path("p"), 1 << 20);
  const SafeTensors file = SafeTensors::open(folder.path("p"));
  size_t changes = 0;
  const auto expect_unbound = [&](const std::vector<TensorEntry>& entries, const Metadata& metadata,
                                  const std::string& what) {
    write_file_atomic(folder.path("p"), safetensors_bytes(entries, metadata), {.mode = 0600});
    EXPECT_FALSE(Passport::load(folder.path("p")).bits_bound()) << what;
    ++changes;
  };
  std::vector<std::vector<std::byte>> bytes;
  std::vector<TensorEntry> entries;
  for (const TensorInfo& t : file.tensors()) bytes.emplace_back(t.data.begin(), t.data.end());
  for (size_t i = 0; i < bytes.size(); ++i) {
    const TensorInfo& t = file.tensors()[i];
    entries.push_back({t.name, t.shape, ConstView(bytes[i].data(), t.dtype, t.size())});
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    const bool is_bits = file.tensors()[i].dtype == DType::kI8;
    const bool is_seed = file.tensors()[i].dtype == DType::kU8;
    for (size_t k = 0; k < bytes[i].size();
         k += is_bits || is_seed ? 1 : 52) {  // every bit, some of the keys' lowest bytes
      std::byte& b = bytes[i][k];
      const std::byte kept = b;
      b = is_bits ? static_cast<std::byte>(-static_cast<int8_t>(b)) : b ^ std::byte{2};
      expect_unbound(entries, file.metadata(), concat(file.tensors()[i].name, " byte ", k));
      b = kept;
    }
  }
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{
           {"signature", "(c) Alice 2027"},
           {"signature_kind", "ascii"},
           {"signature_kind", "free"},
       }) {
    Metadata metadata = file.metadata();
    metadata[key] = value;
    expect_unbound(entries, metadata, key);
  }
  EXPECT_GT(changes, 48u + 32u + 3u);
}

TEST(BoundBits, OnlyTextBinds) {
  EXPECT_FALSE(Passport::random(sites(), counting_seed(), Signature::from_ascii("A")).bits_bound());
  EXPECT_FALSE(Passport::random(sites(), counting_seed(), Signature::random()).bits_bound());
  EXPECT_TRUE(Passport::random(sites(), counting_seed(), Signature::from_text(" ")).bits_bound());
  EXPECT_FALSE(Passport::random(sites(), counting_seed(), Signature::from_text("")).bits_bound())
      << "it names nobody";
  std::vector<std::vector<int8_t>> same;
  const Passport p = bound();
  for (const SitePassport& s : p.sites()) same.emplace_back(s.bits.begin(), s.bits.end());
  EXPECT_FALSE(p.with_bits(same).bits_bound())
      << "given bits are free even where they are the derived ones";
  EXPECT_FALSE(
      Passport::from_keys(p.sites(), Passport::Source::kGiven, {Signature::Kind::kFree, ""})
          .bits_bound());
}

TEST(RandomPassport, DependsOnSeedTextSiteAndRole) {
  std::set<SecretVector<float>> keys;
  std::set<SecretVector<int8_t>> bits;
  for (const uint8_t seed : {uint8_t{1}, uint8_t{2}})
    for (const char* signature : {"a", "b"}) {
      const Passport p = Passport::random(std::vector<Site>{site("x", 64), site("y", 64)},
                                          Secret32(std::array<uint8_t, 32>{seed}),
                                          Signature::from_text(signature));
      for (const SitePassport& s : p.sites())
        keys.insert(s.scale_key), keys.insert(s.shift_key), bits.insert(s.bits);
      for (const float v : p.sites()[0].scale_key) EXPECT_TRUE(v >= -1 && v < 1);
    }
  EXPECT_EQ(keys.size(), 2u * 2 * 2);  // seeds, sites, roles; not the text
  EXPECT_EQ(bits.size(), 2u * 2 * 2);  // seeds, texts, sites
}

/// The worked example of the specification: the raw scale is the mean over positions of conv(key,
/// W).
TEST(OpenPassport, DigestGivesTheMeanOfTheConvolution) {
  CpuStream s(1);
  const Site one{"a",
                 {.n = 1, .h = 3, .w = 3, .c = 1, .o = 3, .kh = 3, .kw = 3, .stride = 1, .pad = 1}};
  const SecretVector<float> key{.1f, .2f, .3f, .4f, .5f, .6f, .7f, .8f, .9f};
  SecretVector<float> twice;
  for (const float v : key) twice.push_back(2 * v);
  const Passport p = Passport::from_keys({{one, key, twice, {1, -1, 1}}}, Passport::Source::kGiven,
                                         {Signature::Kind::kFree, ""});
  const OpenPassport open(s, p, std::span(&one, 1));
  EXPECT_EQ(open.digest(0).shape(), (Shape{2, 9}));
  EXPECT_EQ(open.bits().to_host<int8_t>(s), (std::vector<int8_t>{1, -1, 1}));
  const std::vector<float> filters{1, 0, -1, 2, 0,      -2, 1, 0, -1, /**/ 0, 1, 0, 1, -4,
                                   1, 0, 1,  0, /**/ 1, 1,  1, 1, 1,  1,      1, 1, 1};
  Tape tape(s);
  const Var raw = ops::passport_read(
      tape, {{{Tensor::from<float>(s, {3, 3, 3, 1}, filters), {}, nullptr}, {}, open.digest(0)}});
  const double expected[] = {-2.0 / 9, -2.0 / 3, 2.7222222222};
  const std::vector<float> g = raw.value.to_host(s);
  ASSERT_EQ(g.size(), 6u);
  for (size_t o = 0; o < 3; ++o) {
    EXPECT_NEAR(g[o], expected[o], 1e-6);
    EXPECT_NEAR(g[3 + o], 2 * expected[o], 2e-6);
  }
}

/// Keys stand in files as [C, H, W]; a 1x1 kernel with stride 2 reads every second position.
TEST(OpenPassport, ReadsKeysInFileOrder) {
  CpuStream s(1);
  const Site one{"a",
                 {.n = 1, .h = 2, .w = 3, .c = 2, .o = 4, .kh = 1, .kw = 1, .stride = 2, .pad = 0}};
  const SecretVector<float> key{1, 2, 3, 4, 5, 6, /**/ 10, 20, 30, 40, 50, 60};
  const Passport p =
      Passport::from_keys({{one, key, key, {}}}, Passport::Source::kGiven, Signature::random());
  EXPECT_EQ(OpenPassport(s, p, std::span(&one, 1)).digest(0).value.to_host(s),
            (std::vector<float>{2, 20, 2, 20}));
}

/// The digest of a linear layer is its key, and its raw scale has the bias in it.
TEST(OpenPassport, OfALinearLayerIsItsKey) {
  CpuStream s(1);
  const Site one{"p", {.c = 3, .o = 2}, Site::Kind::kLinear};
  const Passport p = Passport::from_keys({{one, {1, 2, 4}, {0, -1, 0.5f}, {1, -1}}},
                                         Passport::Source::kGiven, {Signature::Kind::kFree, ""});
  const OpenPassport open(s, p, std::span(&one, 1));
  EXPECT_EQ(open.digest(0).value.to_host(s), (std::vector<float>{1, 2, 4, 0, -1, 0.5f}));
  Tape tape(s);
  const Var weight{Tensor::from<float>(s, {2, 3}, std::vector<float>{1, 1, 1, 0, 2, -1}), {}, {}};
  const Var bias{Tensor::from<float>(s, {2}, std::vector<float>{0.25f, -3}), {}, {}};
  EXPECT_EQ(ops::passport_read(tape, {{weight, bias, open.digest(0)}}).value.to_host(s),
            (std::vector<float>{7.25f, -3, -0.25f, -5.5f}));

  Site convolution = one;  // of the same sizes is another layer
  convolution.kind = Site::Kind::kConvolution;
  EXPECT_CONTAINS(refusal(Fault::kInput, [&] { OpenPassport(s, p, std::span(&convolution, 1)); }),
                  "linear");
}

TEST(OpenPassport, IsForItsNetworkOnly) {
  CpuStream s(1);
  const std::vector<Site> own = sites();
  EXPECT_EQ(OpenPassport(s, bound(), own).bits().size(), 48);
  const auto refused = [&](std::vector<Site> of_network) {
    return refusal(Fault::kInput, [&] { OpenPassport(s, bound(), of_network); });
  };
  EXPECT_CONTAINS(refused({own[0]}), "2 sites, the network has 1");
  EXPECT_CONTAINS(refused({}), "has 0");
  EXPECT_CONTAINS(refused({own[1], own[0]}), "site 1 is conv1");
  for (const auto change :
       {+[](Site& x) { x.name = "conv2"; }, +[](Site& x) { x.geometry.h = 6; },
        +[](Site& x) { x.geometry.o = 48; }, +[](Site& x) { x.geometry.stride = 2; },
        +[](Site& x) { x.geometry.pad = 0; }}) {
    std::vector<Site> of_network = own;
    change(of_network[1]);
    EXPECT_CONTAINS(refused(of_network), "site 2");
  }
}

TEST(Schemes, AreTheTableOfTheDesign) {
  std::string rows;
  for (const Scheme& s : schemes())
    rows +=
        concat(s.name, s.passport ? " passport" : "", s.public_lane ? " public" : "",
               s.gate ? " gate" : "", s.lane_statistics ? " lane-statistics" : "",
               s.lane_transforms ? " lane-transforms" : "", s.triggers ? " triggers" : "", "\n");
  EXPECT_EQ(rows,
            "none public\n"
            "deepipr-v1 passport\n"
            "deepipr-v2 passport public\n"
            "deepipr-v3 passport public triggers\n"
            "pan passport public gate lane-statistics lane-transforms\n"
            "pan-nose-bn passport public lane-statistics lane-transforms\n"
            "pan-sbn passport public lane-transforms\n"
            "pan-sbn-se passport public gate lane-transforms\n");
  EXPECT_EQ(&scheme("deepipr_v2"), &scheme("deepipr-v2"));
  const std::string message = refusal(Fault::kUsage, [] { scheme("deepipr"); });
  for (const Scheme& s : schemes()) EXPECT_CONTAINS(message, s.name);
}

/// A host's rows come first: a name of ours that it takes is its own.
TEST(Schemes, OfAHostAreFoundBesideOurs) {
  static constexpr Scheme kOwn[] = {{.name = "own_rows", .source = ""},
                                    {.name = "pan", .source = ""}};
  EXPECT_EQ(&scheme("own-rows", kOwn), &kOwn[0]);
  EXPECT_EQ(&scheme("pan", kOwn), &kOwn[1]);
  EXPECT_EQ(&scheme("pan-sbn", kOwn), &scheme("pan-sbn"));
  const std::string message = refusal(Fault::kUsage, [] { scheme("own-row", kOwn); });
  EXPECT_CONTAINS(message, "own_rows");
  EXPECT_CONTAINS(message, "deepipr-v1");
  refusal(Fault::kUsage, [] { scheme("own-rows"); });  // a row is nobody else's
}

TEST(PassportPlan, SplitsItsSites) {
  const PassportPlan plan = PassportPlan::of("pan", "layer4.*,convbnrelu_1");
  EXPECT_EQ(plan.scheme->name, "pan");
  EXPECT_EQ(plan.sites, (std::vector<std::string>{"layer4.*", "convbnrelu_1"}));
  EXPECT_EQ(PassportPlan::of("none").sites, (std::vector<std::string>{"last"}));
  EXPECT_EQ(PassportPlan{}.scheme->name, "none");
  for (const char* bad : {"", ",", "a,", ",a", "a,,b"})
    refusal(Fault::kUsage, [&] { PassportPlan::of("pan", bad); });
  refusal(Fault::kUsage, [] { PassportPlan::of("pam"); });
}

TEST(PassportPlan, StarsStandForAnyCharacters) {
  const auto yes = {std::pair{"layer4.*", "layer4.0.shortcut"},
                    {"*", ""},
                    {"*", "a.b"},
                    {"", ""},
                    {"a*c*", "abcabc"},
                    {"*.shortcut", "layer4.0.shortcut"},
                    {"**", "x"},
                    {"a*b", "ab"},
                    {"*ab", "aab"},
                    {"a*ba", "ababa"}};
  const auto no = {std::pair{"layer4.*", "layer40.x"},
                   {"", "a"},
                   {"a", ""},
                   {"a*b", "abc"},
                   {"conv1", "conv10"},
                   {"*.shortcut", "shortcut"},
                   {"a?c", "abc"},
                   {"A", "a"}};
  for (const auto& [pattern, name] : yes)
    EXPECT_TRUE(matches_pattern(pattern, name)) << pattern << " " << name;
  for (const auto& [pattern, name] : no)
    EXPECT_FALSE(matches_pattern(pattern, name)) << pattern << " " << name;
}

}  // namespace
}  // namespace passnorm::test
