#include "verify/attacks/attack.hpp"

#include <algorithm>
#include <array>

#include "engine/io/text.hpp"
#include "models/copy.hpp"
#include "models/model_file.hpp"
#include "verify/attacks/rows.hpp"

namespace passnorm::verify {

std::span<const Attack> attacks() {
  static const std::array rows = {
      prune_attack(),      quantise_attack(),   flip_attack(),      fake1_attack(), gauge_attack(),
      permute_attack(),    fine_tune_attack(),  overwrite_attack(), fake2_attack(), fake3_attack(),
      ambiguity1_attack(), ambiguity2_attack(), erb_attack()};
  return rows;
}

const Attack& attack(std::string_view name) {
  std::vector<std::string_view> names;
  std::string known;
  for (const Attack& a : attacks()) {
    if (a.name == name) return a;
    names.push_back(a.name);
    known += concat(known.empty() ? "" : ", ", a.name);
  }
  const std::string_view near = nearest(name, names);
  fail(Fault::kUsage, "unknown attack ", quote(name),
       near.empty() ? "" : concat("; did you mean ", near, "?"), "; known: ", known);
}

std::unique_ptr<Model> stolen_copy(const AttackInput& input) {
  return input.stolen ? models::copy_of(*input.stolen)
                      : models::released_copy(input.model, &input.passport);
}

Passport owner_passport(const AttackInput& input) {
  Passport owner = input.passport;
  models::take_lane_state(input.model, owner);
  return owner;
}

std::unique_ptr<Model> before_judge(const AttackInput& input, const Model& suspect) {
  return models::with_passport(suspect, owner_passport(input));
}

AttackPoint measure(const AttackInput& input, Model& model, double x) {
  AttackPoint point{
      .x = x, .owner = examine(model, input.passport, {.data = input.test, .null_passports = 0})};
  if (input.triggers) {
    const OpenPassport open = model.open(input.passport);
    point.triggers = train::evaluate(model, &open, *input.triggers);
  }
  return point;
}

namespace {

/// Without a public branch the owner's network says nothing of what the thief's own scores.
void add_stolen_accuracy(const AttackInput& input, Model& suspect, AttackPoint& point) {
  if (input.test && !input.model.has_branch(Branch::kPublic))
    point.metrics.emplace_back("stolen accuracy",
                               *train::evaluate(suspect, nullptr, *input.test).public_accuracy);
}

}  // namespace

AttackPoint measure_suspect(const AttackInput& input, Model& suspect, double x) {
  AttackPoint point = measure(input, *before_judge(input, suspect), x);
  add_stolen_accuracy(input, suspect, point);
  return point;
}

AttackPoint measure_untouched(const AttackInput& input) {
  AttackPoint point = measure(input, *models::copy_of(input.model), 0);
  add_stolen_accuracy(input, *stolen_copy(input), point);
  return point;
}

Claim measure_forger(const AttackInput& input, Model& model, const Passport& forged) {
  return examine(model, forged, {.data = input.test, .null_passports = 0});
}

}  // namespace passnorm::verify
