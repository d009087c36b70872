// Copies in memory: a network's own, what a thief gets, what a judge examines.
#include "models/copy.hpp"

#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"

namespace passnorm {
namespace {

using kernels::NormKind;
using test::network_stream;
using test::same_numbers;

struct Owned {
  std::unique_ptr<Model> model;
  Passport passport;
};

Owned owned(const char* scheme, NormKind norm = NormKind::kBatch,
            const char* architecture = "tiny") {
  auto model = models::make(
      architecture, {.classes = 7, .norm = norm, .plan = PassportPlan::of(scheme), .seed = 3},
      network_stream());
  test::unsettle(*model);
  Passport p = Passport::random(model->sites(), test::secret(5), Signature::from_text("owner"));
  models::take_lane_state(*model, p);
  return {std::move(model), std::move(p)};
}

struct Case {
  const char* scheme;
  NormKind norm;
};
constexpr Case kCases[] = {{"pan", NormKind::kBatch},        {"pan", NormKind::kInstance},
                           {"deepipr-v2", NormKind::kGroup}, {"deepipr-v1", NormKind::kBatch},
                           {"deepipr-v1", NormKind::kGroup}, {"deepipr-v1", NormKind::kInstance}};

TEST(Copies, EveryKindComputesTheSame) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(concat(c.scheme, " ", name_of(c.norm)));
    const Owned o = owned(c.scheme, c.norm);
    const Model* const model = o.model.get();
    const Tensor x = test::pictures(*model, 2);
    const auto branch = [&](Model& of, Branch b) {
      return test::logits(of, of.sites().empty() ? nullptr : &o.passport, b, x);
    };
    const bool ships = !model->has_branch(Branch::kPublic);
    const auto with = branch(*o.model, Branch::kPassport);

    const auto copy = models::copy_of(*model);
    EXPECT_EQ(copy->sites(), model->sites());
    EXPECT_TRUE(same_numbers(with, branch(*copy, Branch::kPassport)));

    // The thief's network computes what was released, and no tensor of it belongs to the owner.
    const auto stolen = models::released_copy(*model, &o.passport);
    EXPECT_TRUE(stolen->sites().empty());
    for (const Parameter& p : stolen->parameters().parameters()) EXPECT_FALSE(p.spec.secret);
    EXPECT_TRUE(same_numbers(ships ? with : branch(*o.model, Branch::kPublic),
                             branch(*stolen, Branch::kPublic)));

    const auto judged = models::with_passport(*stolen, o.passport);
    EXPECT_EQ(judged->sites(), model->sites());
    EXPECT_TRUE(same_numbers(with, branch(*judged, Branch::kPassport)));
    if (!ships) {
      EXPECT_TRUE(
          same_numbers(branch(*o.model, Branch::kPublic), branch(*judged, Branch::kPublic)));
    }
  }
}

TEST(Copies, AreApart) {
  const auto model = owned("pan").model;
  const auto before = model->parameters().weights().to_host(model->stream());
  for (const auto& copy : {models::copy_of(*model), models::released_copy(*model, nullptr)})
    for (const Parameter& p : copy->parameters().parameters())
      p.var.value.copy_from<float>(copy->stream(),
                                   std::vector<float>(static_cast<size_t>(p.var.value.size()), 9));
  EXPECT_TRUE(same_numbers(before, model->parameters().weights().to_host(model->stream())));
}

TEST(Copies, RefuseWhatDoesNotFit) {
  const Owned v1 = owned("deepipr-v1"), pan = owned("pan"),
              other = owned("pan", NormKind::kBatch, "resnet9");
  EXPECT_CONTAINS(test::refusal(Fault::kSecret, [&] { models::released_copy(*v1.model, nullptr); }),
                  "passport");
  const auto stolen = models::released_copy(*pan.model, nullptr);
  EXPECT_CONTAINS(
      test::refusal(Fault::kInput, [&] { models::with_passport(*stolen, other.passport); }),
      "does not fit");
}

}  // namespace
}  // namespace passnorm
