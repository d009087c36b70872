#include "verify/examine.hpp"

#include <array>
#include <cmath>

#include "verify/statistics.hpp"

namespace passnorm::verify {
namespace {

struct Reading {
  std::vector<SiteReport> sites;
  int64_t matched = 0, total = 0;
};

/// Raw scales, before any gate.
std::vector<float> read(const Model& model, const OpenPassport& passport) {
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  return model.read(tape, passport).value.to_host(model.stream());
}

/// Raw scales against the bits. A scale of zero has no sign and counts as wrong.
Reading compare(std::span<const float> raw, const Passport& secret) {
  Reading reading;
  size_t at = 0;
  for (const SitePassport& site : secret.sites()) {
    SiteReport report{.name = site.site.name, .total = site.site.channels()};
    for (size_t c = 0; c < site.bits.size(); ++c)
      report.matched += raw[at + c] * static_cast<float>(site.bits[c]) > 0;
    at += 2 * site.bits.size();
    reading.matched += report.matched;
    reading.total += report.total;
    reading.sites.push_back(std::move(report));
  }
  return reading;
}

Secret32 null_seed(uint64_t seed, uint64_t index) {
  return Secret32(hash256("passnorm null passport v1", {seed, index}));
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  constexpr std::array<std::string_view, 3> names = {"supported", "inconclusive", "not supported"};
  return names.at(static_cast<size_t>(verdict));
}

double log2_of_tests(int64_t tests, int64_t possible_sites) {
  PASSNORM_CHECK(tests >= 1, tests, " tests");
  return std::log2(static_cast<double>(tests)) + static_cast<double>(possible_sites);
}

bool is_decidable(int64_t bits, double log2_tests) {
  return log2_tests - static_cast<double>(bits) <= kLog2Threshold;
}

Claim claim_on(const Model& model, const Passport& passport, std::span<const float> raw,
               int64_t tests) {
  PASSNORM_CHECK(static_cast<int64_t>(raw.size()) == 2 * passport.bit_count(), raw.size(),
                 " raw scales and shifts");
  Reading reading = compare(raw, passport);
  Claim claim{.bits_bound = passport.bits_bound(),
              .matched = reading.matched,
              .total = reading.total,
              .log2_p = log2_binomial_tail(reading.matched, reading.total),
              .tests = tests,
              .possible_sites = std::ssize(model.possible_sites()),
              .signature = passport.signature(),
              .sites = std::move(reading.sites)};
  claim.log2_tests = log2_of_tests(tests, claim.possible_sites);
  claim.decidable = is_decidable(claim.total, claim.log2_tests);
  if (claim.log2_p + claim.log2_tests <= kLog2Threshold)
    claim.verdict = claim.bits_bound ? Verdict::kSupported : Verdict::kInconclusive;
  return claim;
}

Claim examine(Model& model, const Passport& passport, const ExamineOptions& o) {
  const OpenPassport open = model.open(passport);
  Claim claim = claim_on(model, passport, read(model, open), o.tests);

  if (o.data) claim.evaluation = train::evaluate(model, &open, *o.data, {.batch = o.batch});
  const bool measure = o.data && o.null_passports > 0 && model.has_branch(Branch::kPassport);
  const train::EvaluateOptions sample{
      .batch = o.batch, .limit = o.null_images, .lanes = Lanes::only(Branch::kPassport)};
  if (measure) {
    claim.owner_on_null_images = train::evaluate(model, &open, *o.data, sample);
    claim.null.images = claim.owner_on_null_images->images;
  }
  claim.null.seed = o.seed;
  for (int64_t i = 0; i < o.null_passports; ++i) {
    const Passport random = Passport::random(
        model.sites(), null_seed(o.seed, static_cast<uint64_t>(i)), Signature::random());
    const OpenPassport open_random = model.open(random);
    claim.null.matched.push_back(compare(read(model, open_random), random).matched);
    if (measure)
      claim.null.accuracy.push_back(
          *train::evaluate(model, &open_random, *o.data, sample).passport_accuracy);
  }
  return claim;
}

}  // namespace passnorm::verify
