// The verdict on a claim: what makes it, what never does.
#include "verify/examine.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/io/safetensors.hpp"
#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "tests/verify/carry.hpp"
#include "train/data/synthetic.hpp"
#include "verify/statistics.hpp"

namespace passnorm::verify {
namespace {

using test::carry;
using test::network_stream;
using test::raw_scales;
using test::TemporaryFolder;

std::unique_ptr<Model> network(uint64_t seed = 1, const char* scheme = "pan",
                               const char* sites = "last") {
  return models::make("tiny", {.plan = PassportPlan::of(scheme, sites), .seed = seed},
                      network_stream());
}

Passport owner(const Model& model, uint64_t n = 1, Signature s = Signature::from_text("owner")) {
  return Passport::random(model.sites(), test::secret(n), s);
}

std::vector<std::vector<int8_t>> fitted_bits(const Model& model, const Passport& passport) {
  const auto raw = raw_scales(model, passport);
  std::vector<std::vector<int8_t>> bits;
  size_t at = 0;
  for (const int64_t c : model.site_channels()) {
    auto& site = bits.emplace_back();
    for (int64_t i = 0; i < c; ++i) site.push_back(raw[at++] > 0 ? 1 : -1);
  }
  return bits;
}

Claim verdict_of(Model& model, const Passport& passport, int64_t tests = 1) {
  return examine(model, passport, {.null_passports = 0, .tests = tests});
}

TEST(Examine, TheVerdictNeedsMatchAndBinding) {
  const auto model = network();
  const Passport bound = owner(*model), ascii = owner(*model, 2, Signature::from_ascii("ab")),
                 random = owner(*model, 3, Signature::random()),
                 unnamed = owner(*model, 4, Signature::from_text(""));
  for (const auto& [passport, is_bound] :
       {std::pair{&bound, true}, {&ascii, false}, {&random, false}, {&unnamed, false}}) {
    const auto clean = network();
    Claim c = verdict_of(*clean, *passport);
    EXPECT_EQ(c.verdict, Verdict::kNotSupported);
    EXPECT_EQ(c.bits_bound, is_bound);
    EXPECT_GT(c.log2_p, -20);

    carry(*clean, *passport);
    c = verdict_of(*clean, *passport);
    EXPECT_EQ(c.verdict, is_bound ? Verdict::kSupported : Verdict::kInconclusive);
    EXPECT_EQ(c.bits_bound, is_bound);
    EXPECT_EQ(c.matched, 256);
    EXPECT_EQ(c.total, 256);
    EXPECT_EQ(c.log2_p, -256);
  }
  // The bits in reverse match nowhere: no evidence, although just as rare.
  const auto reverse = network();
  carry(*reverse, bound, 256);
  const Claim c = verdict_of(*reverse, bound);
  EXPECT_EQ(c.matched, 0);
  EXPECT_EQ(c.log2_p, 0);
  EXPECT_EQ(c.verdict, Verdict::kNotSupported);
}

TEST(Examine, TheThresholdIsSixtyFourBitsAfterCorrection) {
  // Four layers of the network can carry a passport: 2^4 choices of sites count as tests. 202 of
  // 256 is the first count at or below 2^-68.
  EXPECT_LE(log2_binomial_tail(202, 256) + 4, kLog2Threshold);
  EXPECT_GT(log2_binomial_tail(201, 256) + 4, kLog2Threshold);
  const struct {
    int64_t matched, tests;
    Verdict verdict;
  } rows[] = {
      {256, 1, Verdict::kSupported},
      {202, 1, Verdict::kSupported},
      {201, 1, Verdict::kNotSupported},
      {202, 2, Verdict::kSupported},     // -69.32 + 4 + 1
      {202, 3, Verdict::kNotSupported},  // -69.32 + 4 + 1.58
      {256, int64_t{1} << 40, Verdict::kSupported},
      {210, int64_t{1} << 40, Verdict::kNotSupported},
      {128, 1, Verdict::kNotSupported},
      {0, 1, Verdict::kNotSupported},
  };
  for (const auto& row : rows) {
    const auto model = network();
    const Passport p = owner(*model);
    carry(*model, p, 256 - row.matched);
    const Claim c = verdict_of(*model, p, row.tests);
    EXPECT_EQ(c.matched, row.matched);
    EXPECT_EQ(c.log2_p, log2_binomial_tail(row.matched, 256));
    EXPECT_EQ(c.tests, row.tests);
    EXPECT_EQ(c.log2_tests, std::log2(static_cast<double>(row.tests)) + 4);
    EXPECT_EQ(c.signature.text, p.signature().text);
    EXPECT_EQ(c.verdict, row.verdict) << row.matched << " matched, " << row.tests << " tests";
  }
  const auto model = network();
  test::refusal(Fault::kBug, [&] { verdict_of(*model, owner(*model), 0); });
}

TEST(Examine, ReportsEverySite) {
  const auto model = network(1, "deepipr-v2", "all");
  const Passport p = owner(*model);
  carry(*model, p, 40);  // all 32 of conv1 and 8 of conv2
  const Claim c = verdict_of(*model, p);
  ASSERT_EQ(c.sites.size(), 4u);
  const struct {
    const char* name;
    int64_t matched, total;
  } expected[] = {{"conv1", 0, 32}, {"conv2", 56, 64}, {"conv3", 128, 128}, {"conv4", 128, 128}};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(c.sites[i].name, expected[i].name);
    EXPECT_EQ(c.sites[i].matched, expected[i].matched);
    EXPECT_EQ(c.sites[i].total, expected[i].total);
  }
  EXPECT_EQ(c.matched, 312);
  EXPECT_EQ(c.total, 352);
}

TEST(Examine, AScaleOfZeroIsWrong) {
  const auto model = network();
  const Passport p = owner(*model);
  for (const char* name : {"conv3.conv.weight", "conv4.conv.weight"}) {
    const Tensor& w = model->parameters().find(name)->var.value;
    w.copy_from<float>(model->stream(), std::vector<float>(static_cast<size_t>(w.size())));
  }
  const Claim c = verdict_of(*model, p);
  EXPECT_EQ(c.matched, 0);
  EXPECT_EQ(c.verdict, Verdict::kNotSupported);
}

TEST(Examine, NumbersThatAreNoneAreWrong) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    const auto model = network();
    const Passport p = owner(*model);
    carry(*model, p);
    for (const char* name : {"conv3.conv.weight", "conv4.conv.weight"}) {
      const Tensor& w = model->parameters().find(name)->var.value;
      std::vector<float> values = w.to_host(model->stream());
      for (size_t i = 0; i < values.size(); i += 2) values[i] = bad;
      for (size_t i = 1; i < values.size(); i += 2) values[i] = -bad;
      w.copy_from<float>(model->stream(), values);
    }
    const Claim c = verdict_of(*model, p);
    EXPECT_EQ(c.matched, 0) << bad;
    EXPECT_EQ(c.verdict, Verdict::kNotSupported);
  }
}

/// Keys that are no random numbers: their bits still are.
TEST(Examine, DegenerateKeysProveNothing) {
  const auto model = network();
  for (const float all : {0.0f, 1.0f, -0.5f, 1e-38f, 3e38f}) {
    std::vector<SitePassport> keys = owner(*model).sites();
    for (SitePassport& s : keys) {
      std::ranges::fill(s.scale_key, all);
      std::ranges::fill(s.shift_key, all);
    }
    const Passport p = Passport::from_keys(std::move(keys), Passport::Source::kGiven,
                                           Signature::from_text("owner"));
    EXPECT_TRUE(p.bits_bound());
    const Claim c = verdict_of(*model, p);
    EXPECT_GT(c.log2_p, -20) << all;
    EXPECT_EQ(c.verdict, Verdict::kNotSupported);
    EXPECT_EQ(c.matched == 0, all == 0) << "a scale of zero has no sign";
  }
}

TEST(Examine, TooFewBitsAreNeverSupported) {
  const struct {
    const char* sites;
    int64_t bits;
    int64_t tests;
    bool decidable;
  } rows[] = {{"conv1", 32, 1, false},
              {"conv2", 64, 1, false},  // 2^-64, of 2^4 choices of sites
              {"conv1,conv2", 96, 1, true},
              {"conv1,conv2", 96, int64_t{1} << 28, true},         // -96 + 4 + 28
              {"conv1,conv2", 96, (int64_t{1} << 28) + 1, false},  // and a little
              {"conv3", 128, int64_t{1} << 40, true},
              {"conv3", 128, std::numeric_limits<int64_t>::max(), false}};
  for (const auto& row : rows) {
    const auto model = network(1, "deepipr-v2", row.sites);
    const Passport p = owner(*model);
    carry(*model, p);
    const Claim c = verdict_of(*model, p, row.tests);
    EXPECT_EQ(c.matched, row.bits);
    EXPECT_EQ(c.total, row.bits);
    EXPECT_EQ(c.log2_p, -static_cast<double>(row.bits));
    EXPECT_EQ(c.possible_sites, 4);
    EXPECT_EQ(c.decidable, row.decidable) << row.sites << ", " << row.tests << " tests";
    EXPECT_EQ(is_decidable(row.bits, log2_of_tests(row.tests, 4)), row.decidable);
    EXPECT_EQ(c.verdict, row.decidable ? Verdict::kSupported : Verdict::kNotSupported);
  }
  // Nor are none.
  const auto plain = network(1, "none");
  const Claim c = claim_on(*plain, Passport::random({}, test::secret(1), Signature::from_text("a")),
                           std::vector<float>());
  EXPECT_EQ(c.total, 0);
  EXPECT_EQ(c.log2_p, 0);
  EXPECT_FALSE(c.decidable);
  EXPECT_EQ(c.verdict, Verdict::kNotSupported);
}

TEST(Examine, BitsFittedToARandomKeyAreInconclusive) {
  const auto model = network();
  for (uint64_t n = 0; n < 5; ++n) {
    const Passport key = owner(*model, 100 + n);
    const Passport forged = key.with_bits(fitted_bits(*model, key));
    const Claim c = verdict_of(*model, forged);
    EXPECT_EQ(c.matched, 256);
    EXPECT_FALSE(c.bits_bound);
    EXPECT_EQ(c.verdict, Verdict::kInconclusive);
  }
}

/// A passport's file whose bits or keys were changed after they were derived.
TEST(Examine, AnAlteredPassportIsNotBound) {
  const TemporaryFolder folder;
  const std::string path = folder.path("p");
  const auto model = network();
  owner(*model).save(path);
  ASSERT_TRUE(Passport::load(path).bits_bound());
  const SafeTensors file = SafeTensors::open(path);
  const auto altered = [&](const std::string& tensor, const std::string& key = {}) {
    std::vector<TensorEntry> entries;
    std::deque<std::vector<std::byte>> kept;
    for (const TensorInfo& t : file.tensors()) {
      auto& bytes = kept.emplace_back(t.data.begin(), t.data.end());
      if (t.name == tensor) {  // one bit's sign, or the last digit of one number
        bytes[0] = t.dtype == DType::kI8 ? std::byte(-static_cast<int8_t>(bytes[0]))
                                         : bytes[0] ^ std::byte(1);
      }
      entries.push_back({t.name, t.shape, ConstView{bytes.data(), t.dtype, t.size()}});
    }
    Metadata metadata = file.metadata();
    if (!key.empty()) metadata[key] = metadata[key].substr(0, metadata[key].size() - 1) + "0";
    write_file_atomic(folder.path("altered"), safetensors_bytes(entries, metadata), {.mode = 0600});
    return Passport::load(folder.path("altered"));
  };
  EXPECT_TRUE(altered("").bits_bound());
  for (const char* tensor : {"conv3.b", "conv4.b", "conv3.skey", "conv4.key"}) {
    const Passport p = altered(tensor);
    EXPECT_FALSE(p.bits_bound()) << tensor;
    const auto fresh = network();
    carry(*fresh, p);
    const Claim c = verdict_of(*fresh, p);
    EXPECT_EQ(c.matched, 256);
    EXPECT_EQ(c.verdict, Verdict::kInconclusive) << tensor;
  }
  EXPECT_FALSE(altered("", "signature").bits_bound());
  EXPECT_FALSE(altered("seed").bits_bound());
}

TEST(Examine, GivenKeysBindTheirBitsByTheirBytes) {
  const auto model = network();
  std::vector<SitePassport> keys = owner(*model).sites();
  const Passport p =
      Passport::from_keys(keys, Passport::Source::kGiven, Signature::from_text("owner"));
  carry(*model, p);
  EXPECT_EQ(verdict_of(*model, p).verdict, Verdict::kSupported);
  // The same bits with a key that differs in one number: what a forger who tunes a key has.
  keys = p.sites();
  keys[0].scale_key[0] += 0.25f;
  const Passport tuned =
      Passport::from_keys(keys, Passport::Source::kGiven, Signature::from_text("owner"));
  EXPECT_NE(tuned.sites()[0].bits, p.sites()[0].bits);
  EXPECT_EQ(verdict_of(*model, tuned).verdict, Verdict::kNotSupported);
}

struct Moments {
  double mean, variance;
};
Moments moments(const std::vector<int64_t>& v) {
  const auto n = static_cast<double>(v.size());
  const double mean = std::accumulate(v.begin(), v.end(), 0.0) / n;
  double variance = 0;
  for (const int64_t x : v)
    variance += (static_cast<double>(x) - mean) * (static_cast<double>(x) - mean) / n;
  return {mean, variance};
}

TEST(Null, KeysAndBitsDrawnTogetherAreBinomial) {
  const auto model = network(9);
  test::share_a_direction(*model);
  const Claim c = examine(*model, owner(*model), {.null_passports = 1000});
  ASSERT_EQ(c.null.matched.size(), 1000u);
  EXPECT_TRUE(c.null.accuracy.empty());
  // Binomial(256, 1/2): mean 128, variance 64; four standard errors of 1000 draws.
  const Moments m = moments(c.null.matched);
  EXPECT_NEAR(m.mean, 128, 1.02);
  EXPECT_NEAR(m.variance, 64, 11.5);

  // Against fixed bits random keys are not: this is why the null draws both.
  const auto bits = fitted_bits(*model, owner(*model));
  std::vector<int64_t> fixed;
  for (uint64_t n = 0; n < 300; ++n)
    fixed.push_back(verdict_of(*model, owner(*model, 5000 + n).with_bits(bits)).matched);
  EXPECT_GT(moments(fixed).variance, 5 * 64);
}

TEST(Null, IsRepeatableAndKeepsTheNetwork) {
  const auto model = network();
  test::unsettle(*model);
  const Passport p = owner(*model);
  const train::Dataset data = train::synthetic({.train = 4, .test = 30}, train::Split::kTest);
  const auto state = [&] {
    auto s = model->parameters().weights().to_host(model->stream());
    const auto b = model->parameters().buffer_arena().to_host(model->stream());
    s.insert(s.end(), b.begin(), b.end());
    return s;
  };
  const auto before = state();
  const auto run = [&](uint64_t seed) {
    return examine(*model, p,
                   {.data = &data, .null_passports = 6, .null_images = 20, .seed = seed});
  };
  const Claim a = run(1), b = run(1), other = run(2);
  EXPECT_EQ(state(), before);
  EXPECT_EQ(a.null.matched, b.null.matched);
  EXPECT_EQ(a.null.accuracy, b.null.accuracy);
  EXPECT_NE(a.null.matched, other.null.matched);
  EXPECT_EQ(a.null.accuracy.size(), 6u);
  EXPECT_EQ(a.null.images, 20);
  ASSERT_TRUE(a.owner_on_null_images && a.evaluation);
  EXPECT_EQ(a.owner_on_null_images->images, 20);
  EXPECT_EQ(a.evaluation->images, 30);
  EXPECT_TRUE(a.evaluation->public_accuracy && a.evaluation->passport_accuracy);
  // Data inform, they do not decide.
  const Claim without = examine(*model, p, {.null_passports = 6});
  EXPECT_FALSE(without.evaluation);
  EXPECT_EQ(without.verdict, a.verdict);
  EXPECT_EQ(without.log2_p, a.log2_p);
  EXPECT_EQ(without.null.matched, a.null.matched);
}

TEST(Examine, NeedsTheNetworksSites) {
  const auto model = network(), wide = network(1, "pan", "all"), plain = network(1, "none");
  for (Model* other : {wide.get(), plain.get()})
    EXPECT_CONTAINS(test::refusal(Fault::kInput, [&] { verdict_of(*other, owner(*model)); }),
                    "sites");
}

TEST(Verdict, Names) {
  EXPECT_EQ(name_of(Verdict::kSupported), "supported");
  EXPECT_EQ(name_of(Verdict::kInconclusive), "inconclusive");
  EXPECT_EQ(name_of(Verdict::kNotSupported), "not supported");
}

}  // namespace
}  // namespace passnorm::verify
