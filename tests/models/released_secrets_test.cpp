// Nothing of the owner's secret is in a released file, in any usual encoding.
#include "engine/io/file.hpp"
#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"

namespace passnorm {
namespace {

using kernels::NormKind;
using test::network_stream;
using test::TemporaryFolder;

/// A piece of a secret as it would stand in a file.
struct Needle {
  std::string what;
  std::string bytes;
};

std::string base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i + 3 <= bytes.size(); i += 3) {
    uint32_t word = 0;
    for (size_t k = 0; k < 3; ++k) word = word << 8 | static_cast<unsigned char>(bytes[i + k]);
    for (const int shift : {18, 12, 6, 0}) out += kDigits[word >> shift & 63];
  }
  return out;
}

/// The bytes themselves, and as hexadecimal and base64 text in any phase.
void add_encodings(std::vector<Needle>& needles, const std::string& what, const std::string& raw) {
  needles.push_back({what, raw});
  std::string hex = to_hex({reinterpret_cast<const uint8_t*>(raw.data()), raw.size()});
  needles.push_back({what + " in hex", hex});
  std::ranges::transform(hex, hex.begin(), [](unsigned char c) { return std::toupper(c); });
  needles.push_back({what + " in upper hex", hex});
  for (const size_t phase : {0, 1, 2})
    needles.push_back({concat(what, " in base64 from byte ", phase), base64(raw.substr(phase))});
}

template <class T, class A>
std::string raw(const std::vector<T, A>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

void add_numbers(std::vector<Needle>& needles, const std::string& what,
                 std::span<const float> values) {
  ASSERT_GE(values.size(), 12u);
  for (const size_t at : {size_t{0}, values.size() / 2, values.size() - 12}) {
    const std::vector<float> piece(values.begin() + static_cast<int64_t>(at),
                                   values.begin() + static_cast<int64_t>(at) + 12);
    add_encodings(needles, concat(what, "[", at, "] f32"), raw(piece));
    std::vector<float16> halves;
    std::vector<bfloat16> brains;
    std::vector<double> doubles(piece.begin(), piece.end());
    for (const float v : piece) halves.emplace_back(v), brains.emplace_back(v);
    add_encodings(needles, concat(what, "[", at, "] f16"), raw(halves));
    add_encodings(needles, concat(what, "[", at, "] bf16"), raw(brains));
    add_encodings(needles, concat(what, "[", at, "] f64"), raw(doubles));
  }
}

void add_bits(std::vector<Needle>& needles, const std::string& what,
              const SecretVector<int8_t>& bits) {
  ASSERT_GE(bits.size(), 32u);
  std::string digits, bytes, most(bits.size() / 8, '\0'), least = most;
  std::vector<float> numbers;
  for (size_t i = 0; i < bits.size(); ++i) {
    const bool one = bits[i] > 0;
    digits += one ? '1' : '0';
    bytes += one ? '\1' : '\0';
    numbers.push_back(bits[i]);
    most[i / 8] = static_cast<char>(most[i / 8] | one << (7 - i % 8));
    least[i / 8] = static_cast<char>(least[i / 8] | one << i % 8);
  }
  needles.push_back({what + " as digits", digits.substr(0, 32)});
  add_encodings(needles, what + " as -1 and 1", raw(bits).substr(0, 32));
  add_encodings(needles, what + " as 0 and 1", bytes.substr(0, 32));
  add_encodings(needles, what + " as f32", raw(numbers).substr(0, 128));
  add_encodings(needles, what + " packed, first highest", most);
  add_encodings(needles, what + " packed, first lowest", least);
}

/// Everything that only the owner has.
std::vector<Needle> needles_of(const Passport& passport) {
  std::vector<Needle> needles;
  const auto seed = passport.seed().bytes();
  add_encodings(needles, "seed", std::string(seed.begin(), seed.end()));
  needles.push_back({"signature", passport.signature().text});
  for (const SitePassport& s : passport.sites()) {
    add_numbers(needles, s.site.name + ".skey", s.scale_key);
    add_numbers(needles, s.site.name + ".key", s.shift_key);
    add_bits(needles, s.site.name + ".b", s.bits);
  }
  for (const OwnedTensor& t : passport.lane_state) add_numbers(needles, t.name, t.values);
  return needles;
}

std::vector<std::string> found(std::string_view haystack, const std::vector<Needle>& needles) {
  std::vector<std::string> out;
  for (const Needle& n : needles)
    if (haystack.find(n.bytes) != std::string_view::npos) out.push_back(n.what);
  return out;
}

struct Released {
  Passport passport;
  std::string bytes;
};

Released release(std::string_view architecture, std::string_view scheme, NormKind norm,
                 std::string_view sites = "last") {
  const TemporaryFolder folder;
  const auto model = models::make(
      architecture, {.norm = norm, .plan = PassportPlan::of(scheme, sites)}, network_stream());
  test::unsettle(*model);
  Passport passport = Passport::random(model->sites(), test::secret(8),
                                       Signature::from_text("(c) the owner of this network"));
  models::take_lane_state(*model, passport);
  models::save_released(*model, folder.path("m"), {{0, 0, 0}, {1, 1, 1}});
  const auto bytes = read_file(folder.path("m"), 1 << 26);
  return {std::move(passport), std::string(text_of(bytes))};
}

TEST(ReleasedFile, HoldsNoSecret) {
  for (const Scheme& scheme : schemes()) {
    if (!scheme.passport) continue;
    for (const NormKind norm :
         {NormKind::kBatch, NormKind::kGroup, NormKind::kInstance, NormKind::kLayer}) {
      const auto [passport, bytes] = release("tiny", scheme.name, norm);
      EXPECT_EQ(found(bytes, needles_of(passport)), std::vector<std::string>())
          << scheme.name << " " << name_of(norm);
      // The names of what stays behind, and words that would give it away.
      for (const char* word : {".fc.", "bn0", "bn1", ".scale", ".skey", ".key", ".b\"", "scheme",
                               "sites", "signature", "seed"})
        EXPECT_EQ(bytes.find(word), std::string::npos)
            << word << ": " << scheme.name << " " << name_of(norm);
      // Only deepipr-v1, whose passport ships, may say that there is one.
      EXPECT_EQ(bytes.find("passport") != std::string::npos, scheme.name == "deepipr-v1");
    }
  }
}

TEST(ReleasedFile, HoldsNoSecretOfALargeNetwork) {
  const auto [passport, bytes] = release("alexnet", "pan", NormKind::kBatch);
  std::vector<Needle> raw_only = needles_of(passport);
  std::erase_if(raw_only, [](const Needle& n) {
    return n.what.ends_with(" f64") || n.what.find(" in ") != std::string::npos;
  });
  EXPECT_EQ(found(bytes, raw_only), std::vector<std::string>());
}

TEST(ReleasedFile, ASecretThatIsInItIsFound) {
  const auto [passport, bytes] = release("tiny", "pan", NormKind::kBatch);
  const std::vector<Needle> needles = needles_of(passport);
  const auto finds = [&](const std::string& planted, const std::string& what) {
    // At an odd place, so that nothing is aligned.
    std::string copy = bytes;
    copy.insert(bytes.size() / 3 | 1, planted);
    const auto names = found(copy, needles);
    EXPECT_TRUE(std::ranges::any_of(names, [&](const std::string& n) {
      return n.starts_with(what);
    })) << what;
  };
  const SitePassport& site = passport.sites()[1];
  const auto seed = passport.seed().bytes();
  const std::string seed_bytes(seed.begin(), seed.end());
  finds(seed_bytes, "seed");
  finds(to_hex(seed), "seed in hex");
  finds(base64("x" + seed_bytes + "x"), "seed in base64");
  finds("text: (c) the owner of this network.", "signature");
  finds(raw(site.scale_key), "conv4.skey[0] f32");
  finds(raw(site.shift_key), "conv4.key[0] f32");
  finds(base64(raw(site.shift_key)), "conv4.key[0] f32 in base64");
  finds(base64("xy" + raw(site.shift_key)), "conv4.key[0] f32 in base64");
  const std::vector<float16> halves(site.scale_key.begin(), site.scale_key.end());
  finds(raw(halves), "conv4.skey[0] f16");
  const std::vector<bfloat16> brains(site.scale_key.begin(), site.scale_key.end());
  finds(raw(brains), "conv4.skey[0] bf16");
  finds(raw(site.bits), "conv4.b as -1 and 1");
  std::string digits;
  for (const int8_t bit : site.bits) digits += bit > 0 ? '1' : '0';
  finds(digits, "conv4.b as digits");
  for (const OwnedTensor& t : passport.lane_state) {
    finds(raw(t.values), t.name + "[0] f32");
    const std::vector<double> doubles(t.values.begin(), t.values.end());
    finds(raw(doubles), t.name + "[0] f64");
  }
  EXPECT_EQ(passport.lane_state.size(), 8u);  // per site the gate's two matrices, mean and variance
}

}  // namespace
}  // namespace passnorm
