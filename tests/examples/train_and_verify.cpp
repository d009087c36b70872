// Train a network with a passport, release it, and examine a claim.
#include <iostream>
#include <passnorm/passnorm.hpp>

using namespace passnorm;

int main() {
  const train::DataSpec data = train::parse_data_spec("synthetic:N=640");
  const train::Dataset images = train::load(data, train::Split::kTrain);
  const train::Dataset test = train::load(data, train::Split::kTest);

  const auto model = models::make("tiny", {.plan = PassportPlan::of("pan", "last")});
  auto owner =
      Passport::random(model->sites(), Secret32::random(), Signature::from_text("(c) Alice 2026"));
  train::fit(*model, &owner, {images, &test},
             {.epochs = 2, .batch = 32, .optimizer = {.lr = 0.05f}, .clip_norm = 2});

  models::save_released(*model, "released.safetensors", train::normalisation_of(images));
  models::take_lane_state(*model, owner);
  owner.save("owner.passport");

  const Passport passport = Passport::load("owner.passport");
  const auto suspect =
      models::load_released("released.safetensors", &passport, make_stream(Device::best()));
  const verify::Claim claim = verify::examine(*suspect.model, passport, {.data = &test});
  std::cout << "passnorm " << kVersion << " on " << model->stream().device().name() << ": "
            << verify::name_of(claim.verdict) << ", " << claim.matched << " of " << claim.total
            << " bits, log2 p = " << claim.log2_p << '\n';
  return claim.verdict == verify::Verdict::kSupported ? 0 : 1;
}
