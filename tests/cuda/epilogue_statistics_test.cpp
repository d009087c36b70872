// Training whose batch norms take their statistics from sums of the convolutions
// (StreamOptions::epilogue_statistics).
#include <cmath>

#include "kernels/elementwise.hpp"
#include "tests/support/tolerance.hpp"
#include "tests/train/training.hpp"

namespace passnorm::train {
namespace {

using kernels::NormKind;

struct Case {
  const char *model, *scheme;
  int64_t batch;
  NormKind norm = NormKind::kBatch;
  DType precision = DType::kF16;
};

/// What one step makes of a network.
struct Outcome {
  std::vector<float> change, running;  ///< of the weights; running statistics
  std::array<double, 2> loss;          ///< of the branches
};
Outcome one_step(const Case& c, std::shared_ptr<Stream> stream) {
  Training run(c.model, {.norm = c.norm, .plan = PassportPlan::of(c.scheme), .seed = 1},
               std::move(stream));
  const auto before = run.weights();
  const Dataset data = train_set(c.batch);
  FitOptions o = quick(1, c.batch);
  o.precision = c.precision;
  const EpochReport report = run.fit({data}, o);
  Outcome out{run.weights(), run.buffers(), {report.train.loss_public, report.train.loss_passport}};
  for (size_t i = 0; i < before.size(); ++i) out.change[i] -= before[i];
  return out;
}

/// |a - b| / |b|
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, length = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(double{a[i]} - double{b[i]}, 2);
    length += std::pow(double{b[i]}, 2);
  }
  return std::sqrt(difference / length);
}

TEST(EpilogueStatistics, StepsAreThoseOfTheCpu) {
  for (const Case& c :
       {Case{"tiny", "pan", 4}, Case{"tiny", "deepipr-v2", 4},
        Case{"tiny", "pan", 4, NormKind::kBatch, DType::kBF16}, Case{"alexnet", "pan", 2}}) {
    SCOPED_TRACE(concat(c.model, " ", c.scheme, " ", name_of(c.precision)));
    const Outcome cpu = one_step(c, make_stream(Device::cpu(), 2)),
                  summed = one_step(c, test::summing_stream());
    // A layer rounds the results of its convolution and of its norm; sums are of what is not yet
    // rounded, which moves mean and deviation by as much. To the gradients come the elements on the
    // other side of their kinks: of a normal density, below 1/2, as many as lie that close to 0.
    const Training network(c.model, {.plan = PassportPlan::of(c.scheme)},
                           make_stream(Device::cpu(), 1));
    double fewest = INFINITY;
    for (const Layer& layer : network.model->layers())
      fewest =
          std::min(fewest, static_cast<double>(c.batch * layer.convolution.geometry().y_size()));
    const double forward = test::gamma(4 * static_cast<double>(network.model->layers().size()),
                                       test::unit_roundoff(c.precision)),
                 backward = 2 * forward + std::sqrt(forward + 1 / fewest);
    for (size_t i = 0; i < 2; ++i)
      EXPECT_NEAR(summed.loss[i], cpu.loss[i], forward * cpu.loss[i]) << i;
    EXPECT_LE(distance(summed.running, cpu.running), forward);
    EXPECT_LE(distance(summed.change, cpu.change), backward);
#if PASSNORM_EMULATED
    EXPECT_NE(one_step(c, test::network_stream()).running, summed.running) << "no sums were taken";
#endif
  }
}

/// Statistics of samples, f32, evaluation: as without.
TEST(EpilogueStatistics, ChangeNothingElse) {
  for (const Case& c :
       {Case{"tiny", "pan", 2, NormKind::kGroup}, Case{"tiny", "pan", 2, NormKind::kInstance},
        Case{"tiny", "pan", 2, NormKind::kBatch, DType::kF32}}) {
    const Outcome plain = one_step(c, test::network_stream()),
                  summed = one_step(c, test::summing_stream());
    EXPECT_TRUE(test::same_numbers(summed.change, plain.change)) << test::text_of_norm(c.norm);
    EXPECT_TRUE(test::same_numbers(summed.running, plain.running));
  }
  std::vector<std::vector<float>> logits;
  for (const auto& stream : {test::network_stream(), test::summing_stream()}) {
    const Training run("none", NormKind::kBatch, stream);
    const Tensor x = test::pictures(*run.model, 3),
                 rounded = Tensor::empty(*stream, x.shape(), DType::kF16);
    dispatch(*stream, [&](auto& s) { kernels::cast(s, {.x = x.view(), .y = rounded.view()}); });
    logits.push_back(test::logits(*run.model, nullptr, Branch::kPublic, rounded));
  }
  EXPECT_TRUE(test::same_numbers(logits[1], logits[0]));
}

}  // namespace
}  // namespace passnorm::train
