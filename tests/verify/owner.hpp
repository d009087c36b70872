// What tests of attacks that train share: a small network that was trained a little, and what an
// attack did to it.
#pragma once

#include <algorithm>

#include "tests/support/networks.hpp"
#include "tests/verify/victim.hpp"
#include "train/data/synthetic.hpp"
#include "train/trainer.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::verify {

using Settings = std::map<std::string, std::string>;

struct Owner {
  std::unique_ptr<Model> model;
  Passport passport;
};

inline const train::Dataset& images(train::Split split) {
  static const train::Dataset train =
      train::synthetic({.train = 320, .test = 160}, train::Split::kTrain);
  static const train::Dataset test =
      train::synthetic({.train = 320, .test = 160}, train::Split::kTest);
  return split == train::Split::kTrain ? train : test;
}

/// With all bits, and better than chance.
inline const Owner& owner(const std::string& scheme = "pan") {
  static std::map<std::string, Owner> owners;
  const auto found = owners.find(scheme);
  if (found != owners.end()) return found->second;
  auto model = models::make("tiny", {.plan = PassportPlan::of(scheme)}, test::network_stream());
  const Passport passport =
      Passport::random(model->sites(), test::secret(1), Signature::from_text("owner"));
  train::FitOptions options{.epochs = 6,
                            .batch = 32,
                            .optimizer = {.lr = 0.1f, .nesterov = true},
                            .schedule = train::Schedule::parse("onecycle"),
                            .clip_norm = 2};
  options.loss.sign.alpha = 1;
  train::fit(*model, &passport, {.train = images(train::Split::kTrain)}, options);
  return owners.emplace(scheme, Owner{std::move(model), passport}).first->second;
}

/// For what has nothing to do with what a network has learnt.
inline Owner untrained() {
  auto model = models::make("tiny", {.plan = PassportPlan::of("pan")}, test::network_stream());
  Passport passport =
      Passport::random(model->sites(), test::secret(1), Signature::from_text("owner"));
  return {std::move(model), std::move(passport)};
}

inline AttackInput input_of(const Owner& owner) {
  AttackInput input{.model = *owner.model, .passport = owner.passport};
  input.train = &images(train::Split::kTrain);
  input.test = &images(train::Split::kTest);
  input.batch = 32;
  return input;
}

inline AttackResult run(const char* name, const AttackInput& input, const Settings& given) {
  const Attack& row = attack(name);
  EXPECT_TRUE(row.trains);
  return row.run(input, AttackSettings(row.settings, given));
}

inline double passport_accuracy(const Claim& claim) {
  return claim.evaluation.value().passport_accuracy.value();
}
inline double public_accuracy(const Claim& claim) {
  return claim.evaluation.value().public_accuracy.value();
}

/// Names of the parameters that differ.
inline std::vector<std::string> changed(const Model& a, const Model& b) {
  std::vector<std::string> names;
  for (const Parameter& p : a.parameters().parameters()) {
    const auto& others = b.parameters().parameters();
    const auto q =
        std::ranges::find(others, p.spec.name, [](const Parameter& o) { return o.spec.name; });
    EXPECT_NE(q, others.end()) << p.spec.name;
    if (q != others.end() && p.var.value.to_host(a.stream()) != q->var.value.to_host(b.stream()))
      names.push_back(p.spec.name);
  }
  return names;
}

}  // namespace passnorm::verify
