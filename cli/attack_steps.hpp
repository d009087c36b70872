// What `passnorm attack` is asked for: attacks with their settings.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "verify/attacks/attack.hpp"

namespace passnorm::cli {

/// One attack with its settings.
struct AttackStep {
  const verify::Attack* attack;
  verify::AttackSettings settings;
};

/// attack: a name, then the chain of `then` behind it, each NAME[:KEY=VALUE,..]; or "all", every
/// attack for itself. set: KEY=VALUE, or ATTACK.KEY=VALUE, which with all comes before KEY=VALUE;
/// that is of every attack that has KEY. Error(kUsage) for names, settings and values that there
/// are not.
std::vector<AttackStep> attack_steps(const std::string& attack, const std::vector<std::string>& set,
                                     const std::vector<std::string>& then);

/// "prune", of a chain "prune+quantise".
std::string chain_name(std::span<const AttackStep> steps);

}  // namespace passnorm::cli
