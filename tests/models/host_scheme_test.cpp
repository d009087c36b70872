// Schemes that are no rows of our table: what a host may bring is trained, released and found
// again.
#include "models/copy.hpp"
#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"
#include "train/data/synthetic.hpp"
#include "train/trainer.hpp"

namespace passnorm {
namespace {

using test::network_stream;
using test::TemporaryFolder;

/// Every answer with every other.
constexpr Scheme kRows[] = {
    {.name = "own"},
    {.name = "own-gate", .gate = true},
    {.name = "own-lanes", .lane_statistics = true},
    {.name = "own-gate-lanes", .gate = true, .lane_statistics = true},
    {.name = "own-alone", .public_lane = false},
    {.name = "own-alone-gate", .public_lane = false, .gate = true},
    {.name = "own-alone-lanes", .public_lane = false, .lane_statistics = true},
    {.name = "own-alone-gate-lanes", .public_lane = false, .gate = true, .lane_statistics = true},
};
/// Of PointNet's transform nets.
constexpr Scheme kAloneTransforms{.name = "own-alone-transforms",
                                  .public_lane = false,
                                  .gate = true,
                                  .lane_statistics = true,
                                  .lane_transforms = true};

class HostScheme : public testing::TestWithParam<Scheme const*> {};

TEST_P(HostScheme, IsTrainedReleasedAndFoundAgain) {
  const TemporaryFolder folder;
  const std::string network = folder.path("m"), secret = folder.path("p");
  const auto model = models::make("tiny", {.plan = {.scheme = GetParam()}}, network_stream());
  Passport owner = Passport::random(model->sites(), test::secret(3), Signature::from_text("host"));
  const train::Dataset data =
      train::synthetic(train::SyntheticOptions::of_size(16), train::Split::kTrain);
  const auto before = model->parameters().weights().to_host(model->stream());
  train::fit(*model, &owner, {data}, {.epochs = 1, .batch = 8});
  EXPECT_NE(model->parameters().weights().to_host(model->stream()), before);

  models::save_released(*model, network, train::normalisation_of(data));
  models::take_lane_state(*model, owner);
  owner.save(secret);
  const Passport passport = Passport::load(secret, {}, kRows);
  ASSERT_EQ(passport.scheme, GetParam());
  const auto again = models::load_released(network, &passport, network_stream()).model;
  const Tensor x = test::pictures(*model, 2);
  for (const Branch branch : {Branch::kPublic, Branch::kPassport}) {
    EXPECT_EQ(again->has_branch(branch), model->has_branch(branch));
    if (!model->has_branch(branch)) continue;
    EXPECT_TRUE(test::same_numbers(test::logits(*model, &owner, branch, x),
                                   test::logits(*again, &passport, branch, x)));
  }
  EXPECT_CONTAINS(test::refusal(Fault::kInput, [&] { Passport::load(secret); }), GetParam()->name);
}

/// What a thief gets computes what was released: the public branch or, where there is none, the
/// passport's with what it gives behind its gate. A judge finds the owner's network in it again.
void expect_copies(const char* architecture, const Scheme& scheme) {
  const auto model =
      models::make(architecture, {.plan = {.scheme = &scheme}, .points = 16}, network_stream());
  test::unsettle(*model);
  Passport owner = Passport::random(model->sites(), test::secret(3), Signature::from_text("host"));
  models::take_lane_state(*model, owner);
  const Tensor x = test::pictures(*model, 2);
  const auto with = test::logits(*model, &owner, Branch::kPassport, x);
  const auto stolen = models::released_copy(*model, &owner);
  EXPECT_TRUE(stolen->sites().empty());
  EXPECT_TRUE(test::same_numbers(
      scheme.public_lane ? test::logits(*model, &owner, Branch::kPublic, x) : with,
      test::logits(*stolen, nullptr, Branch::kPublic, x)));
  const auto judged = models::with_passport(*stolen, owner);
  EXPECT_TRUE(test::same_numbers(with, test::logits(*judged, &owner, Branch::kPassport, x)));
}

TEST_P(HostScheme, CopiesComputeTheSame) { expect_copies("tiny", *GetParam()); }

TEST(HostSchemes, CopiesOfAPointNetComputeTheSame) { expect_copies("pointnet", kAloneTransforms); }

std::vector<const Scheme*> rows() {
  std::vector<const Scheme*> all;
  for (const Scheme& row : kRows) all.push_back(&row);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Every, HostScheme, testing::ValuesIn(rows()), [](const auto& p) {
  std::string name(p.param->name);
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace passnorm
