// The references' attack 3 on their own networks in float64: one step on keys near the genuine ones
// (files of kind fake3_step; README.md here).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "engine/io/json.hpp"
#include "tests/golden/fill.hpp"
#include "tests/support/networks.hpp"
#include "verify/attacks/learned_keys.hpp"

namespace passnorm {
namespace {

namespace fs = std::filesystem;

/// The keys with noise, and the first int(0.1 C) bits of each site negated.
Passport noisy_passport(const Passport& genuine) {
  std::vector<SitePassport> sites = genuine.sites();
  for (SitePassport& site : sites) {
    for (const auto& [key, role, noise] :
         {std::tuple{&site.scale_key, ".skey", ".nskey"}, {&site.shift_key, ".key", ".nkey"}}) {
      const auto n = static_cast<int64_t>(key->size());
      const std::vector<double> v = golden::fill(site.site.name + role, n),
                                e = golden::fill(site.site.name + noise, n);
      for (size_t i = 0; i < v.size(); ++i) (*key)[i] = static_cast<float>(v[i] + 0.001 * e[i]);
    }
    const auto flips = static_cast<size_t>(0.1 * static_cast<double>(site.bits.size()));
    for (size_t c = 0; c < flips; ++c) site.bits[c] = static_cast<int8_t>(-site.bits[c]);
  }
  return Passport::from_keys(std::move(sites), Passport::Source::kGiven,
                             {Signature::Kind::kFree, ""});
}

/// What of a key's mean squared distance d^2 is rounding, relatively. Keys below 1 in f32 are off
/// by at most 2^-25; of `roundings` of them the root mean square is below 2^-25 sqrt(roundings /
/// 3), and mean 2 d e has a standard deviation of 2 rms(d) rms(e) / sqrt(n). Eight of them.
double rounding(double mse, size_t n, double roundings) {
  const double e = 0x1p-25 * std::sqrt(roundings / 3);
  return 8 * 2 * e / std::sqrt(mse * static_cast<double>(n));
}

train::Batch filled_batch(Stream& stream) {
  const TensorSpec image{
      .name = "x", .shape = {8, 32, 32, 3}, .init = {}, .layout = FileLayout::kConvolution};
  const Tensor x = Tensor::empty(stream, image.shape);
  x.copy_from<float>(stream,
                     from_file_order(image, golden::as_floats(golden::fill("input", x.size()))));
  std::vector<int32_t> labels;
  for (int32_t i = 0; i < 8; ++i) labels.push_back((7 * i + 3) % 10);
  return {x, Tensor::from<int32_t>(stream, {8}, labels)};
}

void run_case(const std::string& source, const Json& expected) {
  const auto stream = test::network_stream();
  const bool pan = source == "pan";
  const auto model = models::make(
      "alexnet",
      {.plan = pan ? PassportPlan::of("pan", "all") : PassportPlan::of("deepipr-v1", "last")},
      stream);
  golden::fill_parameters(*model);
  const std::vector<float> weights = model->parameters().weights().to_host(*stream);
  const Passport genuine = golden::filled_passport(model->sites());
  verify::LearnedKeys keys(*stream, noisy_passport(genuine), genuine);
  model->parameters().train_only(*stream, [](const TensorSpec&) { return false; });
  train::Optimizer optimizer(*stream, keys.parameters(),
                             {.lr = 0.01f, .momentum = 0.9f, .weight_decay = 5e-4f});
  const auto before = keys.distances();
  const verify::KeyStep step =
      verify::key_step(*model, keys, filled_batch(*stream), {}, optimizer, 2);

  EXPECT_EQ(model->parameters().weights().to_host(*stream), weights) << "they are frozen";
  const double ce = expected.at("ce"), sign = expected.at("sign_loss_flipped");
  EXPECT_NEAR(step.cross_entropy, ce, 2e-5 * ce);
  EXPECT_NEAR(step.sign_loss, sign, 2e-5 * sign);
  EXPECT_NEAR(step.bits, expected.at("sign_acc_vs_flipped").get<double>(), 1e-6);

  // Two roundings of each difference before the step, a third in the step.
  double worst = 0, inverse = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    const auto n = static_cast<size_t>(model->sites()[i / 2].key_size());
    worst = std::max(worst, rounding(before[i].mse, n, 2));
    inverse += 1 / before[i].mse;
  }
  const double sum = expected.at("sum_inv_mse"), norm = expected.at("grad_norm_before_clip");
  EXPECT_NEAR(inverse, sum, worst * sum);
  EXPECT_NEAR(step.inverse_distances, sum, worst * sum);
  // The gradient is that of the distances: |d 1/mse| = 2 / (sqrt(n) mse^1.5).
  EXPECT_NEAR(step.gradient_norm, norm, 1.5 * worst * norm);

  const auto mse = expected.at("mse_after").get<std::vector<double>>(),
             cosine = expected.at("cos_after").get<std::vector<double>>();
  const auto after = keys.distances();
  ASSERT_EQ(after.size(), mse.size());
  ASSERT_EQ(after.size(), cosine.size());
  for (size_t i = 0; i < after.size(); ++i) {
    const auto n = static_cast<size_t>(model->sites()[i / 2].key_size());
    // The step moves a key by less than its distance, along a gradient of mse^-2.
    const double limit = rounding(mse[i], n, 3) + 2 * worst;
    EXPECT_NEAR(after[i].mse, mse[i], limit * mse[i]) << "key " << i;
    EXPECT_NEAR(1 - after[i].cosine, 1 - cosine[i], limit * (1 - cosine[i])) << "key " << i;
    EXPECT_GT(mse[i], before[i].mse * (1 + 10 * limit)) << "a step that the limits would not see";
  }
}

class Fake3Step : public testing::TestWithParam<const char*> {};

TEST_P(Fake3Step, HoldsToTheReference) {
  const char* folder = std::getenv("PASSNORM_GOLDEN_DIR");
  const fs::path file = (folder ? fs::path(folder) : fs::path(__FILE__).parent_path()) /
                        (std::string(GetParam()) + ".fake3_step.json");
  if (!fs::exists(file)) GTEST_SKIP() << file << " is not there";
  run_case(GetParam(), read_json(file.string()).at("data"));
}

INSTANTIATE_TEST_SUITE_P(References, Fake3Step, testing::Values("deepipr", "pan"));

}  // namespace
}  // namespace passnorm
