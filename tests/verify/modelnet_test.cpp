// PointNet on a part of ModelNet10, which lies in $PASSNORM_DATA/modelnet10, and the claim on it.
#include <cstdlib>
#include <filesystem>

#include "tests/support/networks.hpp"
#include "train/data/modelnet.hpp"
#include "train/trainer.hpp"
#include "verify/examine.hpp"

namespace passnorm::verify {
namespace {

TEST(PointNetFull, PanOnAPartOfModelNet10IsVerified) {
  const char* data = std::getenv("PASSNORM_DATA");
  const std::string folder = data ? std::string(data) + "/modelnet10" : "";
  if (!data || !std::filesystem::is_directory(folder))
    GTEST_SKIP() << "needs ModelNet10 in $PASSNORM_DATA/modelnet10";
  const train::Dataset training = train::modelnet(folder, train::Split::kTrain, 128, 1500),
                       test = train::modelnet(folder, train::Split::kTest, 128, 400);
  const auto model = models::make(
      "pointnet", {.classes = 10, .plan = PassportPlan::of("pan"), .points = 128, .seed = 1},
      make_stream(Device::cpu()));
  Passport passport =
      Passport::random(model->sites(), test::secret(1), Signature::from_text("(c) the owner"));
  train::fit(*model, &passport, {training, &test},
             {.epochs = 8,
              .batch = 16,
              .optimizer = {.kind = train::OptimizerOptions::Kind::kAdam,
                            .lr = 1e-3f,
                            .weight_decay = 1e-4f},
              .schedule = train::Schedule::parse("step:20:0.7:1")});
  const Claim c = examine(*model, passport, {.data = &test, .null_passports = 5});
  EXPECT_EQ(c.verdict, Verdict::kSupported) << c.matched << " of " << c.total;
  EXPECT_GT(*c.evaluation->public_accuracy, 0.5);  // of ten classes
  EXPECT_GT(*c.evaluation->passport_accuracy, 0.5);
  RecordProperty("public_accuracy", std::to_string(*c.evaluation->public_accuracy));
  RecordProperty("passport_accuracy", std::to_string(*c.evaluation->passport_accuracy));
}

}  // namespace
}  // namespace passnorm::verify
