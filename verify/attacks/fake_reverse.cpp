// fake2: the scale and shift at the sites, which the passport would give, are trained on the frozen
// network in place of it. Fan et al., DeepIPR (TPAMI 2021), attack 2; from ones it is the plain
// attack of Chen et al. (CVPR 2023).
#include <algorithm>

#include "models/copy.hpp"
#include "verify/attacks/rewrite.hpp"
#include "verify/attacks/rows.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

constexpr AttackSetting kSettings[] = {
    {"init", "signs", one_of("signs | ones"),
     "what scales start from: signs, those of the released scale with a share flipped; "
     "or ones"},
    {"flips", "0.5", number_in(0, 1), "share of all signs that is flipped at first"},
    {"share", "1", number_in(0, 1), "share of the training data that the thief has"},
    {"epochs", "5", kEpochCounts, "epochs; the paper trains 100"},
    {"lr", "0.01", kRates, "learning rate"},
    {"weight-decay", "0.0005", kDecays, "weight decay"},
};

/// What an ordinary network has at the sites: parameters `site``name`.
std::vector<Parameter*> parameters_of(Model& model, const std::vector<Site>& sites,
                                      const char* name) {
  std::vector<Parameter*> out;
  for (const Site& site : sites) {
    out.push_back(model.parameters().find(site.name + name));
    PASSNORM_CHECK(out.back(), "no ", name, " at ", site.name);
  }
  return out;
}

std::vector<float> values_of(const std::vector<Parameter*>& parameters, Stream& stream) {
  std::vector<float> out;
  for (const Parameter* p : parameters) {
    const std::vector<float> v = p->var.value.to_host(stream);
    out.insert(out.end(), v.begin(), v.end());
  }
  return out;
}

float sign(float v) { return v > 0 ? 1.0f : v < 0 ? -1.0f : 0.0f; }

double share_of_same_signs(const std::vector<float>& a, const std::vector<float>& b) {
  size_t same = 0;
  for (size_t i = 0; i < a.size(); ++i) same += a[i] * b[i] > 0;
  return static_cast<double>(same) / static_cast<double>(a.size());
}

/// The raw scales that the owner's passport gives.
std::vector<float> passport_scales(const AttackInput& input) {
  std::vector<float> scales;
  for (const std::vector<float>& site : raw_scales(input.model, input.passport))
    scales.insert(scales.end(), site.begin(), site.end());
  return scales;
}

/// int(share n) of all n numbers, one random choice among all sites, change their sign.
void flip(std::vector<float>& values, double share, uint64_t seed) {
  const auto n = std::ssize(values);
  const auto flips = static_cast<int64_t>(static_cast<double>(n) * share);
  for (const int64_t i : random_choice(n, flips, seed, kForgedSignsStream))
    values[static_cast<size_t>(i)] *= -1;
}

AttackResult fake2(const AttackInput& input, const AttackSettings& settings) {
  const train::FitOptions options = fit_options(input, settings, /*weights=*/false);
  const bool ones = settings.text("init") == "ones";
  const double flips = settings.number("flips"), share = settings.number("share");
  const train::Dataset data = part_of_training_data(input, share);

  AttackResult result{.axis = "epochs", .points = {measure_untouched(input)}, .stolen = nullptr};
  auto thief = stolen_copy(input);
  Stream& stream = thief->stream();
  const std::vector<Site>& sites = input.model.sites();
  const auto scales = parameters_of(*thief, sites, ".bn.weight"),
             shifts = parameters_of(*thief, sites, ".bn.bias");
  const std::vector<float> released = values_of(scales, stream), genuine = passport_scales(input);

  std::vector<float> start(released.size(), 1.0f);
  if (!ones) {
    std::ranges::transform(released, start.begin(), sign);
    flip(start, flips, input.seed);
  }
  size_t at = 0;
  for (size_t i = 0; i < sites.size(); ++i) {
    const auto channels = static_cast<size_t>(sites[i].channels());
    scales[i]->var.value.copy_from<float>(stream, std::span(start).subspan(at, channels));
    shifts[i]->var.value.copy_from<float>(stream, std::vector<float>(channels));
    at += channels;
  }
  thief->parameters().train_only(stream, [&](const TensorSpec& spec) {
    const auto is = [&](const Parameter* p) { return p->spec.name == spec.name; };
    return std::ranges::any_of(scales, is) || std::ranges::any_of(shifts, is);
  });
  // He has no passport: keys of his own, and the signs that they give.
  const Passport forged = with_read_bits(
      input.model, Passport::random(sites, forger_secret(input.seed), Signature::random()));
  const auto point = [&](int64_t epoch) {
    AttackPoint p = measure_suspect(input, *thief, static_cast<double>(epoch));
    p.forger = measure_forger(input, *before_judge(input, *thief), forged);
    const std::vector<float> now = values_of(scales, stream);
    p.metrics.emplace_back("sign similarity", share_of_same_signs(now, released));
    p.metrics.emplace_back("sign similarity to the passport", share_of_same_signs(now, genuine));
    return p;
  };
  result.points.push_back(point(0));
  train::fit(*thief, nullptr, {.train = data}, options,
             progress_callbacks(input, options,
                                [&](int64_t epoch) { result.points.push_back(point(epoch)); }));
  result.stolen = std::move(thief);
  return result;
}

}  // namespace

Attack fake2_attack() {
  return {.name = "fake2",
          .description = "scale and shift at the sites trained anew, all other weights frozen",
          .source = "Fan et al., DeepIPR (NeurIPS 2019, TPAMI 2021), attack 2",
          .settings = kSettings,
          .trains = true,
          .run = fake2};
}

}  // namespace passnorm::verify
