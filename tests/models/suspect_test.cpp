// Files as a judge reads them: where a thief takes his scale and shift from changes nothing of what
// a passport reads.
#include "engine/io/safetensors.hpp"
#include "models/copy.hpp"
#include "tests/support/files.hpp"
#include "tests/support/networks.hpp"

namespace passnorm {
namespace {

using kernels::NormKind;
using test::network_stream;
using test::same_numbers;

const models::InputNormalisation kNormalisation{{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}};

struct Owned {
  std::unique_ptr<Model> model;
  Passport passport;
};

Owned owned(const char* architecture, const char* scheme, const char* sites = "last",
            NormKind norm = NormKind::kBatch, uint64_t n = 5) {
  auto model =
      models::make(architecture,
                   {.norm = norm, .plan = PassportPlan::of(scheme, sites), .points = 16, .seed = n},
                   network_stream());
  test::unsettle(*model);
  Passport p = Passport::random(model->sites(), test::secret(n), Signature::from_text("owner"));
  models::take_lane_state(*model, p);
  return {std::move(model), std::move(p)};
}

models::ReleasedForm form_of(const Model& model) {
  return models::released_form(model, kNormalisation);
}

SafeTensors file_of(const models::ReleasedForm& form) {
  return SafeTensors::parse("suspect", form.bytes());
}

std::vector<float> raw(const Model& model, const Passport& passport) {
  Tape tape(model.stream(), Tape::Mode::kForwardOnly);
  return model.read(tape, model.open(passport)).value.to_host(model.stream());
}

TEST(Suspect, AnAffineOfTheThiefsOwnIsLeftOut) {
  for (const char* architecture : {"tiny", "pointnet"})
    for (const NormKind norm : {NormKind::kBatch, NormKind::kInstance}) {
      if (architecture == std::string_view("pointnet") && norm == NormKind::kInstance) continue;
      SCOPED_TRACE(concat(architecture, " ", name_of(norm)));
      const Owned o = owned(architecture, "deepipr-v1", "last", norm);
      const auto stolen = models::released_copy(*o.model, &o.passport);
      for (const Site& site : o.model->sites()) {
        const Tensor& scale = stolen->parameters().find(site.name + ".bn.weight")->var.value;
        scale.copy_from<float>(stolen->stream(),
                               std::vector<float>(static_cast<size_t>(scale.size()), -0.75f));
      }
      models::ReleasedForm form = form_of(*stolen);
      // To run it one has to know whose affine is meant; to judge it, not.
      EXPECT_CONTAINS(
          test::refusal(
              Fault::kInput,
              [&] { models::load_released(file_of(form), &o.passport, network_stream()); }),
          "has a public branch");
      for (const char* says : {"", "passport"}) {  // what the thief writes into it
        if (*says) form.metadata["affine"] = says;
        const auto suspect = models::load_suspect(file_of(form), o.passport, network_stream());
        EXPECT_TRUE(suspect.complete);
        EXPECT_EQ(suspect.model->sites(), o.model->sites());
        EXPECT_TRUE(same_numbers(raw(*o.model, o.passport), raw(*suspect.model, o.passport)));
        // His affine does not count: with its own the owner's network is found again.
        const Tensor x = test::pictures(*o.model, 2);
        EXPECT_TRUE(same_numbers(test::logits(*o.model, &o.passport, Branch::kPassport, x),
                                 test::logits(*suspect.model, &o.passport, Branch::kPassport, x)));
      }
    }
}

/// The network of a scheme with a public lane, shipped as deepipr-v1: at sites of the thief's
/// choice the affine comes from a passport of his, which nobody else needs to have.
TEST(Suspect, AnAffineFromAnotherPassportIsNotNeeded) {
  for (const char* scheme : {"pan", "deepipr-v2", "deepipr-v1"})
    for (const NormKind norm : {NormKind::kBatch, NormKind::kInstance}) {
      SCOPED_TRACE(concat(scheme, " ", name_of(norm)));
      const Owned o = owned("tiny", scheme, "conv3,conv4", norm);
      models::ReleasedForm form =
          form_of(*models::released_copy(*o.model, &o.passport));  // with all that he has
      form.metadata["affine"] = "passport";
      std::erase_if(form.tensors, [](const models::NamedTensor& t) {
        return t.name.starts_with("conv2.bn.") && !t.name.starts_with("conv2.bn.running");
      });
      const bool misses_one = norm == NormKind::kBatch || o.model->has_branch(Branch::kPublic);
      const auto suspect = models::load_suspect(file_of(form), o.passport, network_stream());
      EXPECT_EQ(suspect.complete, !misses_one);
      EXPECT_TRUE(same_numbers(raw(*o.model, o.passport), raw(*suspect.model, o.passport)));
      // What is not an affine has to be there.
      std::erase_if(form.tensors,
                    [](const models::NamedTensor& t) { return t.name == "conv3.conv.weight"; });
      EXPECT_CONTAINS(
          test::refusal(Fault::kInput,
                        [&] { models::load_suspect(file_of(form), o.passport, network_stream()); }),
          "conv3.conv.weight");
    }
}

TEST(Suspect, AnOrdinaryFileIsReadAsEver) {
  for (const char* scheme : {"pan", "deepipr-v2", "deepipr-v1"}) {
    const Owned o = owned("tiny", scheme);
    const models::ReleasedForm form = form_of(*o.model);
    const auto suspect = models::load_suspect(file_of(form), o.passport, network_stream());
    EXPECT_TRUE(suspect.complete);
    EXPECT_EQ(suspect.normalisation.mean, kNormalisation.mean);
    const auto released = models::load_released(file_of(form), &o.passport, network_stream());
    EXPECT_TRUE(released.complete);
    const auto state = [](const Model& m) { return m.parameters().weights().to_host(m.stream()); };
    EXPECT_TRUE(same_numbers(state(*suspect.model), state(*released.model)));
    // Strict in everything else: tensors that are missing, tensors that have no place.
    const auto refusal = [&](const models::ReleasedForm& changed) {
      return test::refusal(Fault::kInput, [&] {
        models::load_suspect(file_of(changed), o.passport, network_stream());
      });
    };
    models::ReleasedForm less = form, more = form;
    std::erase_if(less.tensors, [](const models::NamedTensor& t) {
      return t.name == "conv1.bn.running_mean" || t.name == "conv1.bn.weight";
    });
    EXPECT_CONTAINS(refusal(less), "conv1.bn.");
    more.tensors.push_back({"conv9.bn.weight", {2}, {1, 1}});
    EXPECT_CONTAINS(refusal(more), "conv9.bn.weight");
  }
}

}  // namespace
}  // namespace passnorm
