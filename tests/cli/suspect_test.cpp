// passnorm verify on networks whose scale and shift a thief has changed the origin of.
#include "models/copy.hpp"
#include "models/export.hpp"
#include "tests/cli/program.hpp"
#include "tests/support/networks.hpp"
#include "tests/verify/carry.hpp"

namespace passnorm::test {
namespace {

const models::InputNormalisation kNormalisation{{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}};

/// What an owner's training leaves: a network with all bits and, in `folder`, the passport p.
struct Owned {
  std::unique_ptr<Model> model;
  Passport passport;

  Owned(const TemporaryFolder& folder, const char* scheme)
      : model(models::make("tiny", {.plan = PassportPlan::of(scheme)}, network_stream())),
        passport(Passport::random(model->sites(), secret(1), Signature::from_text("owner"))) {
    carry(*model, passport);
    models::take_lane_state(*model, passport);
    passport.save(folder.path("p"));
  }
};

Finished verify(const TemporaryFolder& folder, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {
      "verify", folder.path("m"), "--passport", folder.path("p"), "--null", "2", "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return passnorm(arguments);
}

TEST(VerifyASuspect, WhoseDeepiprV1NetworkHasAnAffineOfItsOwn) {
  const TemporaryFolder folder;
  const Owned owner(folder, "deepipr-v1");
  const auto stolen = models::released_copy(*owner.model, &owner.passport);
  for (const char* site : {"conv3", "conv4"})
    for (const char* what : {".bn.weight", ".bn.bias"}) {
      const Tensor& t = stolen->parameters().find(concat(site, what))->var.value;
      t.copy_from<float>(stolen->stream(), std::vector<float>(static_cast<size_t>(t.size()), -1));
    }
  models::save_released(*stolen, folder.path("m"), kNormalisation);
  const Finished f = verify(folder, {"--data", "synthetic:N=20"});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(f.json()["bits"]["matched"], 256);
  EXPECT_EQ(f.json()["verdict"], "supported");
  EXPECT_TRUE(f.json()["accuracy"]["public"].is_null()) << "its own affine is not the passport's";
}

/// Folded, a deepipr-v1 network has the squares of its scales: nothing is left that a passport
/// reads.
TEST(VerifyASuspect, WhoseDeepiprV1NetworkIsFoldedCanStillBeAsked) {
  const TemporaryFolder folder;
  const Owned owner(folder, "deepipr-v1");
  models::save_folded(*owner.model, &owner.passport, folder.path("m"), kNormalisation);
  const Finished refused = verify(folder);
  EXPECT_TRUE(fails_with(3, refused));
  EXPECT_CONTAINS(refused.err, "its sign, the bit, cannot be read");
  EXPECT_CONTAINS(refused.err, "verify the file that was folded");
  EXPECT_CONTAINS(refused.err, "--black-box");
  const std::string triggers = folder.path("t");
  ASSERT_EQ(
      passnorm({"data", "triggers", "--out", triggers, "--count", "20", "--signature", "A"}).code,
      0);
  const Finished asked =
      passnorm({"verify", folder.path("m"), "--black-box", "--triggers", triggers, "--owner-file",
                triggers + ".owner", "--decoys", "5", "--json"});
  EXPECT_EQ(asked.code, 1) << asked.err;  // it has never seen them
  EXPECT_EQ(asked.json()["triggers"]["total"], 20);
}

TEST(VerifyASuspect, APassportWithoutATextIsForNobody) {
  const TemporaryFolder folder;
  for (const char* text : {"owner", ""}) {
    const auto model = models::make("tiny", {.plan = PassportPlan::of("pan")}, network_stream());
    Passport p = Passport::random(model->sites(), secret(1), Signature::from_text(text));
    carry(*model, p);
    models::take_lane_state(*model, p);
    p.save(folder.path("p"));
    models::save_released(*model, folder.path("m"), kNormalisation);
    const Finished f =
        passnorm({"verify", folder.path("m"), "--passport", folder.path("p"), "--null", "0"});
    EXPECT_EQ(f.code, *text ? 0 : 9) << f.out << f.err;
    EXPECT_CONTAINS(f.out, "256 of 256 match");
    EXPECT_CONTAINS(f.out, *text ? "bound       yes" : "bound       no: the signature has no text");
  }
}

TEST(VerifyASuspect, ThatIsShippedWithAPassportOfTheThief) {
  const TemporaryFolder folder;
  const Owned owner(folder, "pan");
  models::ReleasedForm form = models::released_form(*owner.model, kNormalisation);
  form.metadata["affine"] = "passport";
  std::erase_if(form.tensors, [](const models::NamedTensor& t) {
    return t.name == "conv2.bn.weight" || t.name == "conv2.bn.bias";
  });
  write_file_atomic(folder.path("m"), form.bytes());
  const Finished f = verify(folder);
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(f.json()["bits"]["matched"], 256);
  // Of outputs that nobody can compute without the thief's passport there is no accuracy.
  const Finished with_data = verify(folder, {"--data", "synthetic:N=20"});
  EXPECT_TRUE(fails_with(2, with_data));
  EXPECT_CONTAINS(with_data.err, "leave out --data");
}

}  // namespace
}  // namespace passnorm::test
