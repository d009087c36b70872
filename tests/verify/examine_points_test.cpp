// Claims on PointNets: their linear layers' raw scales have biases, and an ordinary network has
// tensors that a passport's has not, and the reverse.
#include "models/copy.hpp"
#include "tests/support/networks.hpp"
#include "verify/examine.hpp"

namespace passnorm::verify {
namespace {

using test::network_stream;

std::unique_ptr<Model> pointnet(const char* scheme, uint64_t seed) {
  return models::make("pointnet",
                      {.classes = 40, .plan = PassportPlan::of(scheme), .points = 16, .seed = seed},
                      network_stream());
}

/// The signs that a random passport happens to give on the network.
Passport fitting(const Model& model) {
  Passport passport = Passport::random(model.sites(), test::secret(1), Signature::random());
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  const std::vector<float> raw =
      model.read(tape, model.open(passport)).value.to_host(model.stream());
  std::vector<std::vector<int8_t>> bits;
  size_t at = 0;
  for (const int64_t c : model.site_channels()) {
    auto& of_site = bits.emplace_back();
    for (int64_t i = 0; i < c; ++i)
      of_site.push_back(raw[at + static_cast<size_t>(i)] > 0 ? 1 : -1);
    at += 2 * static_cast<size_t>(c);
  }
  passport = passport.with_bits(bits);
  models::take_lane_state(model, passport);
  return passport;
}

TEST(ExaminePoints, AReleasedNetworkIsItsOwners) {
  for (const char* scheme : {"pan", "deepipr-v2", "deepipr-v1"}) {
    const auto model = pointnet(scheme, 1);
    test::unsettle(*model);
    const Passport passport = fitting(*model);
    const auto released = models::released_copy(*model, &passport);
    EXPECT_TRUE(released->sites().empty());
    const auto suspect = models::with_passport(*released, passport);
    EXPECT_EQ(suspect->sites(), model->sites());
    const Claim claim = examine(*suspect, passport, {.null_passports = 3});
    EXPECT_EQ(claim.total, 2024) << scheme;
    EXPECT_EQ(claim.matched, 2024) << scheme;
    EXPECT_EQ(claim.verdict, Verdict::kInconclusive)
        << "anyone can draw a key and write down signs";
    EXPECT_EQ(claim.log2_tests, 6) << "2^6 choices of sites";
    for (const int64_t matched : claim.null.matched) EXPECT_LT(matched, 1400);
  }
}

/// It has a bias at its convolutions and no affine behind its last layer.
TEST(ExaminePoints, APlainNetworkIsNobodys) {
  const auto plain = pointnet("none", 2);
  for (const char* scheme : {"pan", "deepipr-v2", "deepipr-v1"}) {
    const Passport passport = fitting(*pointnet(scheme, 1));
    const auto suspect = models::with_passport(*plain, passport);
    const Claim claim = examine(*suspect, passport, {.null_passports = 0});
    EXPECT_EQ(claim.total, 2024);
    EXPECT_LT(claim.matched, 1400) << scheme;
    EXPECT_EQ(claim.verdict, Verdict::kNotSupported) << scheme;
    if (suspect->has_branch(Branch::kPublic)) {
      const Tensor x = test::pictures(*plain, 2);
      EXPECT_TRUE(test::same_numbers(test::logits(*suspect, nullptr, Branch::kPublic, x),
                                     test::logits(*plain, nullptr, Branch::kPublic, x)))
          << scheme << ": without an affine its scale is 1 and its shift 0";
    }
  }
}

}  // namespace
}  // namespace passnorm::verify
