// What a thief does to a network, and what a judge still reads from it: a row of verify::attacks().
#include <iostream>
#include <passnorm/passnorm.hpp>

using namespace passnorm;

int main() {
  const train::DataSpec data = train::parse_data_spec("synthetic:N=640");
  const train::Dataset images = train::load(data, train::Split::kTrain);
  const train::Dataset test = train::load(data, train::Split::kTest);
  const auto model = models::make("tiny", {.plan = PassportPlan::of("pan")});
  const auto owner =
      Passport::random(model->sites(), Secret32::random(), Signature::from_text("(c) Alice 2026"));
  train::fit(*model, &owner, {images},
             {.epochs = 2, .batch = 32, .optimizer = {.lr = 0.05f}, .clip_norm = 2});

  const verify::Attack& prune = verify::attack("prune");
  const verify::AttackSettings settings(prune.settings, {{"rates", "0.5,1"}});
  const verify::AttackResult result =
      prune.run({.model = *model, .passport = owner, .test = &test}, settings);
  for (const verify::AttackPoint& point : result.points)  // the first is the untouched network
    std::cout << point.x << " of the weights pruned: accuracy "
              << *point.owner.evaluation->public_accuracy << ", "
              << verify::name_of(point.owner.verdict) << " with " << point.owner.matched << " of "
              << point.owner.total << " bits\n";
}
