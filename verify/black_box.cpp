#include "verify/black_box.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/passport/pass.hpp"
#include "verify/statistics.hpp"

namespace passnorm::verify {
namespace {

std::vector<int64_t> histogram(std::span<const int32_t> answers, int64_t classes) {
  std::vector<int64_t> counts(static_cast<size_t>(classes));
  for (const int32_t a : answers)
    if (a != kNoClass) ++counts.at(static_cast<size_t>(a));
  return counts;
}

/// Share of a class, never 0.
double smoothed(int64_t count, int64_t answers, int64_t classes) {
  return static_cast<double>(count + 1) / static_cast<double>(answers + classes);
}

}  // namespace

BlackBoxClaim examine_black_box(const BlackBoxInput& in) {
  const int64_t n = std::ssize(in.answers), decoys = std::ssize(in.decoys);
  PASSNORM_CHECK(n > 0 && std::ssize(in.labels) == n, n, " answers, ", in.labels.size(), " labels");
  PASSNORM_CHECK(in.classes >= 2 && in.tests >= 1, in.classes, " classes, ", in.tests, " tests");
  BlackBoxClaim claim{.total = n,
                      .classes = in.classes,
                      .bound_classes = in.bound_classes,
                      .tests = in.tests,
                      .log2_tests = std::log2(static_cast<double>(in.tests)),
                      .answers = histogram(in.answers, in.classes),
                      .decoys = histogram(in.decoys, in.classes)};
  // Of no decoys there is no share: then the answers on the other triggers alone count.
  const auto share_of_decoys = [&](size_t c) {
    return decoys > 0 ? smoothed(claim.decoys[c], decoys, in.classes) : 0.0;
  };
  for (size_t c = 0; c < claim.answers.size(); ++c)
    claim.prior.push_back(std::max(share_of_decoys(c), smoothed(claim.answers[c], n, in.classes)));
  std::vector<double> by_prior;
  for (size_t j = 0; j < in.answers.size(); ++j) {
    const auto label = static_cast<size_t>(in.labels[j]);
    const bool match = in.answers[j] == in.labels[j];
    claim.matched += match;
    const int64_t others = claim.answers.at(label) - match;
    by_prior.push_back(std::max(share_of_decoys(label), smoothed(others, n - 1, in.classes)));
  }
  claim.log2_p_prior = log2_poisson_binomial_tail(claim.matched, by_prior);
  const double limit = kLog2Threshold - claim.log2_tests;
  if (in.bound_classes > 0) {
    const double rate = 1 / static_cast<double>(in.bound_classes);
    const std::vector<double> by_label(in.answers.size(), rate);
    claim.log2_p_labels = log2_poisson_binomial_tail(claim.matched, by_label);
    claim.decidable = static_cast<double>(n) * std::log2(rate) <= limit;
    if (*claim.log2_p_labels <= limit) claim.verdict = Verdict::kSupported;
  } else {
    claim.decidable = log2_poisson_binomial_tail(n, by_prior) <= limit;
    if (claim.log2_p_prior <= limit) claim.verdict = Verdict::kInconclusive;
  }
  return claim;
}

std::vector<int32_t> predict(Model& model, const OpenPassport* passport, const train::Dataset& data,
                             int64_t batch) {
  train::check_fits(data, model);
  const bool is_public = model.has_branch(Branch::kPublic);
  if (!is_public && !passport)
    fail(Fault::kSecret, "this network has no public branch: give its passport");
  const Lanes lanes = Lanes::only(is_public ? Branch::kPublic : Branch::kPassport);
  const train::DeviceDataset examples(model.stream(), data);
  std::vector<int32_t> answers;
  for (int64_t first = 0; first < data.n; first += batch) {
    std::vector<int64_t> numbers(static_cast<size_t>(std::min(batch, data.n - first)));
    std::iota(numbers.begin(), numbers.end(), first);
    Tape tape(model.stream(), Tape::Mode::kForwardOnly);
    Pass pass{.tape = tape,
              .mode = Mode::kEvaluate,
              .passport = is_public ? nullptr : passport,
              .raw = {},
              .used = {}};
    const std::vector<float> logits =
        model.forward(pass, {examples.batch(numbers).x, lanes, nullptr})
            .value.to_host(model.stream());
    const auto classes = static_cast<size_t>(model.options().classes);
    for (size_t i = 0; i < logits.size(); i += classes) {
      const auto row = std::span(logits).subspan(i, classes);
      const bool numeric = std::ranges::none_of(row, [](float value) { return std::isnan(value); });
      answers.push_back(numeric ? static_cast<int32_t>(std::ranges::max_element(row) - row.begin())
                                : kNoClass);
    }
  }
  return answers;
}

}  // namespace passnorm::verify
