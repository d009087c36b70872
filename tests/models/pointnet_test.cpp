// What PointNet's training has beside an image network's: dropout, the transform's term in the
// loss, storage in 16 bits.
#include "kernels/elementwise.hpp"
#include "tests/support/networks.hpp"
#include "tests/support/tolerance.hpp"
#include "train/step.hpp"

namespace passnorm::test {
namespace {

constexpr int64_t kClouds = 8;

class PointNetStep : public testing::Test {
 protected:
  std::unique_ptr<Model> make(float dropout = 0.4f, kernels::OrthogonalityForm form =
                                                        kernels::OrthogonalityForm::kGram) const {
    auto model = models::make("pointnet",
                              {.norm = kernels::NormKind::kGroup,
                               .plan = PassportPlan::of("deepipr-v2", "all"),
                               .points = 16,
                               .dropout = dropout,
                               .orthogonality = form},
                              network_stream());
    unsettle(*model);
    return model;
  }
  static Tensor labels(Model& model) {
    std::vector<int32_t> targets;
    for (int32_t i = 0; i < kClouds; ++i) targets.push_back(i % 10);
    return Tensor::from<int32_t>(model.stream(), {kClouds}, targets);
  }
  static OpenPassport open(const Model& model) {
    return model.open(Passport::random(model.sites(), secret(1), Signature::random()));
  }
  static train::StepResult step(Model& model, Lanes lanes, std::optional<uint32_t> number) {
    train::GradientOptions gradient;
    if (number) gradient.dropout = DropoutMasks{.seed = 3, .step = *number};
    const OpenPassport passport = open(model);
    return train::forward_backward(model, &passport, pictures(model, kClouds), labels(model), lanes,
                                   {}, gradient);
  }
  static std::vector<float> logits_of(Model& model, Lanes lanes, std::optional<uint32_t> number) {
    return step(model, lanes, number).logits.value.to_host(model.stream());
  }
};

TEST_F(PointNetStep, DropoutFollowsFromTheStep) {
  const auto model = make(), without = make(0);
  const auto of_step = [&](std::optional<uint32_t> number) {
    return logits_of(*model, Lanes::shared(), number);
  };
  EXPECT_TRUE(same_numbers(of_step(7), of_step(7)));
  EXPECT_FALSE(same_numbers(of_step(7), of_step(8)));
  EXPECT_FALSE(same_numbers(of_step(7), of_step({})));
  EXPECT_TRUE(same_numbers(of_step({}), logits_of(*without, Lanes::shared(), 7)));
}

/// Both branches in one pass have the masks of each alone.
TEST_F(PointNetStep, BothLanesHaveOneMask) {
  const auto model = make();
  const auto both = logits_of(*model, Lanes::shared(), 7);
  const size_t half = both.size() / 2;
  for (const Branch branch : {Branch::kPublic, Branch::kPassport}) {
    const auto alone = logits_of(*model, Lanes::only(branch), 7);
    ASSERT_EQ(alone.size(), half);
    double error = 0, largest = 0;
    for (size_t i = 0; i < half; ++i) {
      const double v = both[i + (branch == Branch::kPublic ? 0 : half)];
      error = std::max(error, std::abs(v - double{alone[i]}));
      largest = std::max(largest, std::abs(v));
    }
    EXPECT_LE(error, 1e-4 * largest);
  }
}

/// The loss of each lane is its cross-entropy and alpha times the transform's distance from
/// orthogonal, whichever form that has.
TEST_F(PointNetStep, TheTransformIsInTheLossOfEachLane) {
  using kernels::OrthogonalityForm;
  const auto losses = [&](OrthogonalityForm form, Lanes lanes) {
    const auto model = make(0.4f, form);
    Tape tape(model->stream());
    const OpenPassport passport = open(*model);
    Pass pass{.tape = tape, .passport = &passport};
    const Var logits = model->forward(pass, {pictures(*model, kClouds), lanes, nullptr});
    EXPECT_EQ(pass.losses.size(), 1u);
    std::vector<float> expected =
        ops::cross_entropy(tape, logits, labels(*model)).loss.to_host(model->stream());
    const std::vector<float> term = pass.losses.at(0).to_host(model->stream());
    EXPECT_GT(term.at(0), 1e-5);
    for (size_t l = 0; l < expected.size(); ++l) expected[l] += term[l % term.size()];
    EXPECT_EQ(expected, step(*model, lanes, {}).losses.loss.to_host(model->stream()));
    const Tensor x = pictures(*model, kClouds);
    EXPECT_EQ(expected,
              train::forward_only(*model, &passport, x, labels(*model), lanes, Mode::kTrain)
                  .losses.loss.to_host(model->stream()));
    return term[0];
  };
  const float gram = losses(OrthogonalityForm::kGram, Lanes::shared());
  EXPECT_NE(gram, losses(OrthogonalityForm::kTimesGram, Lanes::shared()));
  EXPECT_EQ(losses(OrthogonalityForm::kGram, Lanes::only(Branch::kPublic)), gram);
}

/// The clouds of one network may have any number of points.
TEST_F(PointNetStep, CloudsOfAnyLength) {
  const auto model = make();
  ModelOptions longer = model->options();
  longer.points = 24;
  const auto other = models::make("pointnet", longer, network_stream());
  EXPECT_EQ(other->parameters().count(), model->parameters().count());
  const Tensor x = pictures(*other, kClouds);
  ASSERT_EQ(x.shape(), (Shape{kClouds, 1, 24, 3}));
  const OpenPassport passport = open(*model);
  const auto run = [&](const Tensor& clouds) {
    return train::forward_backward(*model, &passport, clouds, labels(*model), Lanes::shared(), {})
        .logits.shape();
  };
  for (int i = 0; i < 3; ++i) {  // the memory of a step is planned for its sizes
    EXPECT_EQ(run(x), (Shape{2 * kClouds, 10}));
    EXPECT_EQ(run(pictures(*model, kClouds)), (Shape{2 * kClouds, 10}));
  }
}

TEST_F(PointNetStep, StorageInSixteenBits) {
  const auto model = make();
  Stream& stream = model->stream();
  const OpenPassport passport = open(*model);
  const Tensor x = pictures(*model, kClouds), labels = PointNetStep::labels(*model);
  const auto run = [&](DType dtype) {
    Tensor clouds = Tensor::empty(stream, x.shape(), dtype);
    dispatch(stream, [&](auto& s) { kernels::cast(s, {.x = x.view(), .y = clouds.view()}); });
    const train::StepResult r =
        train::forward_backward(*model, &passport, clouds, labels, Lanes::shared(), {});
    EXPECT_EQ(r.logits.value.dtype(), DType::kF32);
    return r.losses.loss.to_host(stream);
  };
  const std::vector<float> exact = run(DType::kF32);
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const std::vector<float> rounded = run(dtype);
    for (size_t l = 0; l < exact.size(); ++l) {
      EXPECT_NEAR(rounded[l], exact[l], 0.05 * std::abs(exact[l]));
      EXPECT_NE(rounded[l], exact[l]);
    }
  }
}

}  // namespace
}  // namespace passnorm::test
