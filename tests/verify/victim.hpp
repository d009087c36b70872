// What tests of attacks share: a network to attack, and what an attack says, as text.
#pragma once

#include <cmath>
#include <sstream>

#include "tests/support/networks.hpp"
#include "tests/verify/carry.hpp"
#include "train/data/synthetic.hpp"
#include "verify/attacks/attack.hpp"

namespace passnorm::verify {

/// A network whose owner's bits all match, as after training, and data.
struct Victim {
  std::unique_ptr<Model> model;
  std::optional<Passport> passport;
  train::Dataset train = train::synthetic({.train = 40, .test = 30}, train::Split::kTrain);
  train::Dataset test = train::synthetic({.train = 40, .test = 30}, train::Split::kTest);
  train::Dataset other_train =
      train::synthetic({.train = 40, .test = 30, .seed = 2}, train::Split::kTrain);
  train::Dataset other_test =
      train::synthetic({.train = 40, .test = 30, .seed = 2}, train::Split::kTest);

  explicit Victim(const char* scheme, kernels::NormKind norm = kernels::NormKind::kBatch,
                  const char* architecture = "tiny", const char* sites = "last") {
    model = models::make(architecture,
                         {.norm = norm, .plan = PassportPlan::of(scheme, sites), .seed = 3},
                         test::network_stream());
    test::unsettle(*model);
    passport = Passport::random(model->sites(), test::secret(1), Signature::from_text("owner"));
    test::carry(*model, *passport);
  }

  AttackInput input(uint64_t seed = 1) const {
    return {.model = *model,
            .passport = *passport,
            .train = &train,
            .test = &test,
            .other_train = &other_train,
            .other_test = &other_test,
            .seed = seed,
            .batch = 20};
  }
  AttackResult run(const char* name, const std::map<std::string, std::string>& settings,
                   uint64_t seed = 1) const {
    const Attack& a = attack(name);
    return a.run(input(seed), AttackSettings(a.settings, settings));
  }
  int64_t bits() const { return passport->bit_count(); }
};

inline std::string text(const std::optional<train::Evaluation>& e) {
  if (!e) return "-";
  const auto value = [](const std::optional<double>& v) { return v ? concat(*v) : "-"; };
  return concat(e->images, " ", value(e->public_accuracy), " ", value(e->passport_accuracy), " ",
                value(e->public_loss), " ", value(e->passport_loss));
}

inline std::string text(const Claim& c) {
  std::string out = concat(name_of(c.verdict), " ", c.bits_bound, " ", c.matched, "/", c.total, " ",
                           c.log2_p, " ", c.log2_tests, " ", c.signature.text);
  for (const SiteReport& s : c.sites) out += concat(" ", s.name, " ", s.matched, "/", s.total);
  return out + " " + text(c.evaluation);
}

/// Everything that a point says, in as many digits as tell numbers apart.
inline std::string text(const AttackPoint& p) {
  std::ostringstream out;
  out.precision(17);
  out << p.x << "; owner " << text(p.owner) << "; forger " << (p.forger ? text(*p.forger) : "-")
      << "; triggers " << text(p.triggers);
  for (const auto& [name, value] : p.metrics) out << "; " << name << " " << value;
  return out.str();
}

inline double metric(const AttackPoint& p, const std::string& name) {
  for (const auto& [known, value] : p.metrics)
    if (known == name) return value;
  ADD_FAILURE() << "no metric " << name;
  return NAN;
}

}  // namespace passnorm::verify
