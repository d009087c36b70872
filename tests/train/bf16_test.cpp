// Activations stored in bf16: the same training, up to roundings of 2^-8.
#include <cmath>

#include "kernels/convolution.hpp"
#include "tests/support/tolerance.hpp"
#include "tests/train/training.hpp"

namespace passnorm::train {
namespace {

using kernels::NormKind;

double norm(const std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += double{x} * x;
  return std::sqrt(sum);
}

struct Gradients {
  std::vector<float> all, losses;
  DType logits;
};

Gradients gradients_of(Training& run, const Dataset& data, DType precision) {
  Model& model = *run.model;
  std::vector<int64_t> index(static_cast<size_t>(data.n));
  for (size_t i = 0; i < index.size(); ++i) index[i] = static_cast<int64_t>(i);
  const Batch batch = DeviceDataset(model.stream(), data).batch(index, precision);
  EXPECT_EQ(batch.x.dtype(), precision);
  std::optional<OpenPassport> open;
  if (run.passport) open = model.open(*run.passport);
  const StepResult r = forward_backward(model, open ? &*open : nullptr, batch.x, batch.labels,
                                        model.training_lanes(), {});
  return {model.parameters().gradients().to_host(model.stream()),
          r.losses.loss.to_host(model.stream()), r.logits.value.dtype()};
}

/// The gradient of one step. On the longest path every tensor between input and logits is rounded
/// to bf16 once forward and once backward: input, four convolutions with their results, weights and
/// normalisations, three pools and the mean; so the whole gradient is known to gamma(2 * 17, u) of
/// its length.
TEST(Bf16, GradientIsThatOfF32UpToRoundings) {
  const double tolerance = test::gamma(2 * (1 + 4 * 3 + 4), test::unit_roundoff(DType::kBF16));
  ASSERT_LT(tolerance, 0.2);
  for (const char* scheme : {"none", "deepipr-v1", "deepipr-v2", "pan"})
    for (const NormKind kind : {NormKind::kBatch, NormKind::kGroup}) {
      Training run(scheme, kind);
      const Dataset data = train_set(64);
      const Gradients exact = gradients_of(run, data, DType::kF32),
                      rounded = gradients_of(run, data, DType::kBF16);
      EXPECT_EQ(rounded.logits, DType::kF32);
      std::vector<float> difference = exact.all;
      for (size_t i = 0; i < difference.size(); ++i) difference[i] -= rounded.all[i];
      const double error = norm(difference) / norm(exact.all);
      EXPECT_LT(error, tolerance) << scheme;
      EXPECT_GT(error, test::unit_roundoff(DType::kBF16) / 8) << scheme << ": not in bf16";
      for (size_t l = 0; l < exact.losses.size(); ++l)
        EXPECT_NEAR(rounded.losses[l], exact.losses[l], tolerance * exact.losses[l]) << scheme;
      EXPECT_EQ(gradients_of(run, data, DType::kBF16).all, rounded.all) << "not deterministic";
    }
}

/// Accuracies of two runs that differ in precision only. Roundings make them different runs, as
/// another seed would: the band is six standard errors of the test set's share at 90%.
TEST(Bf16, LearnsAsWellAsF32) {
  const Dataset data = train_set(2000);
  const Dataset test = synthetic({.train = 2000, .test = 500}, Split::kTest);
  std::array<EpochReport, 2> last;
  std::vector<float> weights;
  for (const DType precision : {DType::kF32, DType::kBF16}) {
    Training run("pan");
    FitOptions o = quick(5, 50);
    o.precision = precision;
    last[precision == DType::kBF16] = run.fit({data, &test}, o);
    if (precision == DType::kF32)
      weights = run.weights();
    else
      EXPECT_NE(run.weights(), weights);
    // The report's evaluation has the precision of the run.
    const OpenPassport open = run.model->open(*run.passport);
    EXPECT_EQ(last[precision == DType::kBF16].test->public_loss,
              evaluate(*run.model, &open, test, {.precision = precision}).public_loss);
    auto& stream = static_cast<CpuStream&>(run.model->stream());
    EXPECT_EQ(run.notes.empty(), kernels::convolves(stream, precision));
  }
  const double band = 6 * std::sqrt(0.9 * 0.1 / 500);
  EXPECT_GT(last[0].test->public_accuracy.value(), 0.9);
  EXPECT_NEAR(last[1].test->public_accuracy.value(), last[0].test->public_accuracy.value(), band);
  EXPECT_NEAR(last[1].test->passport_accuracy.value(), last[0].test->passport_accuracy.value(),
              band);
  EXPECT_EQ(last[1].train.bits, 1);
}

/// The same network evaluated both ways: few images change sides.
TEST(Bf16, EvaluatesAsF32Does) {
  Training run("pan");
  const Dataset data = train_set(500);
  run.fit({data}, quick(2, 50));
  const OpenPassport open = run.model->open(*run.passport);
  const Evaluation exact = evaluate(*run.model, &open, data),
                   rounded = evaluate(*run.model, &open, data, {.precision = DType::kBF16});
  EXPECT_NE(rounded.public_loss, exact.public_loss);
  const double tolerance = test::gamma(17, test::unit_roundoff(DType::kBF16));
  for (const auto& [a, b] : {std::pair{rounded.public_loss, exact.public_loss},
                             {rounded.passport_loss, exact.passport_loss}})
    EXPECT_NEAR(*a, *b, tolerance * *b);
  EXPECT_NEAR(*rounded.public_accuracy, *exact.public_accuracy, tolerance);
  EXPECT_NEAR(*rounded.passport_accuracy, *exact.passport_accuracy, tolerance);
}

TEST(Bf16, OtherPrecisionsAreRefused) {
  Training run("none");
  FitOptions o = quick(1, 8);
  o.precision = DType::kF64;
  EXPECT_CONTAINS(test::refusal(Fault::kUsage, [&] { run.fit({train_set(16)}, o); }),
                  "f32, bf16 or f16");
}

}  // namespace
}  // namespace passnorm::train
