// Nothing of the owner's secret is in a released file, in any usual encoding or order, and the
// search for it finds what it looks for.
#include "engine/io/file.hpp"
#include "models/export.hpp"
#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "tests/support/passport_secrets.hpp"

namespace passnorm {
namespace {

using kernels::NormKind;
using test::network_stream;
using test::SecretScan;
using test::TemporaryFolder;
using Names = std::set<std::string>;

struct Released {
  Passport passport;
  std::vector<std::string> files;  ///< contents: released, folded, torchvision
};

Released release(std::string_view architecture, std::string_view scheme, NormKind norm,
                 std::string_view sites = "last") {
  const TemporaryFolder folder;
  const auto model = models::make(
      architecture, {.norm = norm, .plan = PassportPlan::of(scheme, sites), .points = 16},
      network_stream());
  test::unsettle(*model);
  Passport passport = Passport::random(model->sites(), test::secret(8),
                                       Signature::from_text("(c) the owner of this network"));
  models::take_lane_state(*model, passport);
  const models::InputNormalisation input{{0, 0, 0}, {1, 1, 1}};
  std::vector<std::string> files;
  const auto read = [&](const char* name) {
    files.emplace_back(text_of(read_file(folder.path(name), 1 << 26)));
  };
  models::save_released(*model, folder.path("m"), input);
  read("m");
  if (norm == NormKind::kBatch && model->has_branch(Branch::kPublic) &&
      !model->architecture().of_points()) {
    models::save_folded(*model, nullptr, folder.path("folded"), input);
    read("folded");
    if (architecture.starts_with("resnet")) {
      models::save_torchvision(*model, nullptr, folder.path("torchvision"), input);
      read("torchvision");
    }
  }
  return {std::move(passport), std::move(files)};
}

void expect_no_secret(const Scheme& scheme, NormKind norm) {
  SCOPED_TRACE(concat(scheme.name, " ", name_of(norm)));
  const auto [passport, files] = release("tiny", scheme.name, norm);
  SecretScan scan;
  add_secrets(scan, passport);
  for (const std::string& bytes : files) {
    EXPECT_EQ(scan.find(bytes), Names());
    // The names of what stays behind, and words that would give it away.
    for (const char* word : {".fc.", "bn0", "bn1", ".scale", ".skey", ".key", ".b\"", "scheme",
                             "sites", "signature", "seed"})
      EXPECT_EQ(bytes.find(word), std::string::npos) << word;
    // Only deepipr-v1, whose passport ships, may say that there is one.
    EXPECT_EQ(bytes.find("passport") != std::string::npos, scheme.name == "deepipr-v1");
  }
}

TEST(ReleasedFile, HoldsNoSecret) {
  for (const char* name : {"deepipr-v1", "deepipr-v2", "pan"})
    expect_no_secret(scheme(name), NormKind::kBatch);
}

TEST(ReleasedFileFull, HoldsNoSecretOfAnySchemeAndNorm) {
  for (const Scheme& scheme : schemes())
    for (const NormKind norm :
         {NormKind::kBatch, NormKind::kGroup, NormKind::kInstance, NormKind::kLayer})
      if (scheme.passport) expect_no_secret(scheme, norm);
}

TEST(ReleasedFileFull, HoldsNoSecretOfALargeNetwork) {
  for (const auto& [architecture, sites] : {std::pair{"alexnet", "last"},
                                            {"resnet9", "last"},
                                            {"resnet18", "layer4.1.*"},
                                            {"pointnet", "all"}}) {
    const auto [passport, files] = release(architecture, "pan", NormKind::kBatch, sites);
    EXPECT_EQ(files.size(), architecture == std::string("alexnet")    ? 2u
                            : architecture == std::string("pointnet") ? 1u
                                                                      : 3u);
    SecretScan scan;
    add_secrets(scan, passport);
    for (const std::string& bytes : files) EXPECT_EQ(scan.find(bytes), Names()) << architecture;
  }
}

// --- that what is there is found

std::string random_bytes_of(size_t size, uint32_t stream) {
  const Random random(5, Purpose::kTest, stream);
  std::string out(size, '\0');
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>(random.word(i) >> 24);
  return out;
}
std::string hex(std::string_view bytes, bool upper) {
  std::string out =
      to_hex(std::as_bytes(std::span(bytes)).empty()
                 ? std::span<const uint8_t>()
                 : std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  if (upper)
    std::ranges::transform(out, out.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}
std::string base64(std::string_view bytes, std::string_view last_two) {
  const std::string digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" + std::string(last_two);
  std::string out;
  for (size_t i = 0; i + 3 <= bytes.size(); i += 3) {
    uint32_t word = 0;
    for (size_t k = 0; k < 3; ++k) word = word << 8 | static_cast<unsigned char>(bytes[i + k]);
    for (const int shift : {18, 12, 6, 0}) out += digits[word >> shift & 63];
  }
  return out;
}
std::string decimals(std::span<const float> values, const char* format, const char* between) {
  std::string out;
  for (const float v : values) {
    char text[64];
    std::snprintf(text, sizeof text, format, static_cast<double>(v));
    out += (out.empty() ? "" : between) + std::string(text);
  }
  return out;
}

/// Ways in which bytes are written.
struct Wrapped {
  std::string how, text;
};
std::vector<Wrapped> wrapped(const std::string& bytes) {
  std::vector<Wrapped> out = {{"raw", bytes},
                              {"hex", hex(bytes, false)},
                              {"upper hex", hex(bytes, true)},
                              {"hex from half a byte", "0" + hex(bytes, false)}};
  for (const char* alphabet : {"+/", "-_"})
    for (const char* before : {"", "x", "xy"})
      out.push_back({concat("base64 ", alphabet, " after ", before),
                     base64(before + bytes + "zz", alphabet)});
  std::string lines = base64(bytes + "zz", "+/");
  for (size_t at = 20; at < lines.size(); at += 21) lines.insert(at, "\n");
  out.push_back({"base64 in lines", lines});
  return out;
}

/// Plants the text at odd places of files of several kinds.
void expect_found(const SecretScan& scan, const std::string& what, const Wrapped& planted) {
  for (const auto& [kind, file] :
       {std::pair{"random bytes", random_bytes_of(1001, 1)},
        {"text",
         std::string("{\"epoch\": 1, \"loss\": 0.25, \"note\": \"") + std::string(333, '.')}}) {
    // Between marks that end every run, so that the file itself does not matter.
    const std::string whole = file + "\"" + planted.text + "\"" + file;
    EXPECT_TRUE(scan.find(whole).contains(what)) << what << ", " << planted.how << ", in " << kind;
  }
}

class Planted : public testing::Test {
 protected:
  Planted() : released_(release("tiny", "pan", NormKind::kBatch)) {
    add_secrets(scan_, released_.passport);
    scan_.add_bytes("passphrase", "correct horse battery staple");
    scan_.add_bytes("short passphrase", "correct!");
  }
  const SitePassport& site() const { return released_.passport.sites()[1]; }

  Released released_;
  SecretScan scan_;
};

TEST_F(Planted, NumbersAreFoundInEveryEncodingAndOrder) {
  const SitePassport& s = site();
  const kernels::ConvGeometry& g = s.site.geometry;
  struct Tensor {
    std::string what;
    std::vector<float> values;
  };
  std::vector<Tensor> tensors;
  for (const auto& order : std::vector<std::array<size_t, 3>>{{0, 1, 2}, {1, 2, 0}, {2, 1, 0}}) {
    tensors.push_back(
        {s.site.name + " scale key", test::transposed(s.scale_key, {g.c, g.h, g.w}, order)});
    tensors.push_back(
        {s.site.name + " shift key", test::transposed(s.shift_key, {g.c, g.h, g.w}, order)});
  }
  CpuStream stream(1);
  std::vector<Site> sites;
  for (const SitePassport& p : released_.passport.sites()) sites.push_back(p.site);
  tensors.push_back(
      {s.site.name + " digest",
       OpenPassport(stream, released_.passport, sites).digest(1).value.to_host(stream)});
  EXPECT_EQ(released_.passport.lane_state.size(), 8u);  // per site two gates, mean and variance
  for (const OwnedTensor& t : released_.passport.lane_state) tensors.push_back({t.name, t.values});
  for (size_t i = tensors.size(); i-- > 0;) {
    tensors.push_back(tensors[i]);
    std::ranges::reverse(tensors.back().values);
  }
  for (const Tensor& t : tensors) {
    // A part of it only: eleven numbers from an odd place, and four as decimals.
    const auto part = std::span(t.values).subspan(t.values.size() / 2 | 1, 11);
    for (const bool big : {false, true})
      for (const auto& [type, bytes] : {std::pair{"f32", test::bytes_as<float>(part, big)},
                                        {"f64", test::bytes_as<double>(part, big)},
                                        {"f16", test::bytes_as<float16>(part, big)},
                                        {"bf16", test::bytes_as<bfloat16>(part, big)}})
        for (const Wrapped& w : wrapped(bytes))
          expect_found(scan_, t.what, {concat(type, big ? " big-endian " : " ", w.how), w.text});
    for (const char* format : {"%.4f", "%.9g", "%.17g", "%.5e"})
      for (const char* between : {",", ", ", "\n", " ; "})
        expect_found(scan_, t.what, {format, decimals(part.first(4), format, between)});
  }
}

TEST_F(Planted, BitsAreFoundInEveryEncoding) {
  const auto& bits = site().bits;
  std::vector<int8_t> order(bits.begin(), bits.end());
  for (const char* direction : {"forwards", "backwards"}) {
    for (const size_t from : {0, 1, 5}) {
      const std::span<const int8_t> part(order.data() + from, 72);
      std::string digits, signs, list, signed_list;
      std::vector<float> numbers, ones;
      for (const int8_t b : part) {
        digits += b > 0 ? '1' : '0';
        signs += b > 0 ? '+' : '-';
        list += b > 0 ? "1, " : "0, ";
        signed_list += b > 0 ? "1," : "-1,";
        numbers.push_back(b);
        ones.push_back(b > 0 ? 1 : 0);
      }
      struct Element {
        int32_t value;
        explicit Element(float v) : value(static_cast<int32_t>(v)) {}
      };
      struct Byte {
        int8_t value;
        explicit Byte(float v) : value(static_cast<int8_t>(v)) {}
      };
      std::vector<Wrapped> forms = {{"digits", digits},
                                    {"signs", signs},
                                    {"a list of 0 and 1", list},
                                    {"a list of -1 and 1", signed_list}};
      for (const auto& values : {numbers, ones})
        for (const std::string& bytes :
             {test::bytes_as<float>(values), test::bytes_as<double>(values),
              test::bytes_as<float16>(values), test::bytes_as<bfloat16>(values),
              test::bytes_as<Element>(values), test::bytes_as<Byte>(values)})
          for (const Wrapped& w : wrapped(bytes)) forms.push_back(w);
      for (const bool lowest : {false, true})
        for (const Wrapped& w : wrapped(test::packed(part, lowest))) forms.push_back(w);
      for (const Wrapped& w : forms)
        expect_found(scan_, site().site.name + " bits",
                     {concat(w.how, " ", direction, " from ", from), w.text});
    }
    std::ranges::reverse(order);
  }
}

TEST_F(Planted, BytesAndTextsAreFound) {
  const auto seed = released_.passport.seed().bytes();
  const std::string all(seed.begin(), seed.end());
  for (const std::string& part : {all, all.substr(7, 17), std::string(all.rbegin(), all.rend())}) {
    for (const Wrapped& w : wrapped(part)) expect_found(scan_, "seed", w);
    std::string list;
    for (const char c : part) list += concat(static_cast<int>(static_cast<unsigned char>(c)), ", ");
    expect_found(scan_, "seed", {"a list of bytes", "[" + list + "]"});
  }
  for (const Wrapped& w : wrapped("the owner of this network")) expect_found(scan_, "signature", w);
  for (const Wrapped& w : wrapped("horse battery staple")) expect_found(scan_, "passphrase", w);
  for (const Wrapped& w : wrapped("correct!")) expect_found(scan_, "short passphrase", w);
}

/// Nothing is found where nothing is.
TEST_F(Planted, RandomFilesHoldNothing) {
  const std::string bytes = random_bytes_of(1 << 20, 2);
  const Random random(6, Purpose::kTest);
  std::vector<float> values(1 << 16);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 2 * random.uniform(i) - 1;
  std::string digits, signs;
  for (size_t i = 0; i < 1 << 16; ++i) {
    digits += random.word(i) & 1 ? '1' : '0';
    signs += random.word(i) & 2 ? '+' : '-';
  }
  for (const std::string& file :
       {bytes, hex(bytes.substr(0, 1 << 18), false), base64(bytes.substr(0, 1 << 18), "+/"),
        test::bytes_as<float>(values), test::bytes_as<float16>(values),
        test::bytes_as<bfloat16>(values), test::bytes_as<double>(values), digits, signs,
        decimals(std::span(values).first(2000), "%.4f", ","), std::string(1 << 16, '\0'),
        std::string(1 << 16, '1'), test::bytes_as<float>(std::vector<float>(1 << 14, 1.0f))})
    EXPECT_EQ(scan_.find(file), Names());
}

}  // namespace
}  // namespace passnorm
