// A scheme of your own is a row: what it does at the layers that carry a passport.
#include <array>
#include <iostream>
#include <passnorm/passnorm.hpp>

using namespace passnorm;

namespace {

// PAN's gate in a network that works with its passport only. Plans and passports point to the row,
// so it lives as long as they do.
constexpr std::array kOwnSchemes = {Scheme{
    .name = "acme-gated", .source = "Acme Research, 2026", .public_lane = false, .gate = true}};

}  // namespace

int main() {
  const train::DataSpec data = train::parse_data_spec("synthetic:N=640");
  const train::Dataset images = train::load(data, train::Split::kTrain);

  const auto model = models::make("tiny", {.plan = {.scheme = &kOwnSchemes[0]}});
  auto owner =
      Passport::random(model->sites(), Secret32::random(), Signature::from_text("(c) Acme 2026"));
  train::fit(*model, &owner, {images},
             {.epochs = 2, .batch = 32, .optimizer = {.lr = 0.05f}, .clip_norm = 2});

  models::save_released(*model, "acme.safetensors", train::normalisation_of(images));
  models::take_lane_state(*model, owner);
  owner.save("acme.passport");

  // The file names the scheme: whoever loads it brings the row.
  const Passport passport = Passport::load("acme.passport", {}, kOwnSchemes);
  const auto loaded = models::load_released("acme.safetensors", &passport, model->shared_stream());
  const verify::Claim claim = verify::examine(*loaded.model, passport);
  std::cout << passport.scheme->name << ": " << verify::name_of(claim.verdict) << ", "
            << claim.matched << " of " << claim.total << " bits\n";
  return claim.verdict == verify::Verdict::kSupported ? 0 : 1;
}
