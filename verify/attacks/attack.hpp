// Attacks on a passport network: what a thief or a forger can do with it. Each is a row of a
// registry, works on copies, and ends in the same examine() that a judge would run.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "train/evaluate.hpp"
#include "verify/examine.hpp"

namespace passnorm::verify {

/// What an attack is given. Nothing of it is changed.
struct AttackInput {
  const Model& model;        ///< the owner's network, with its passport sites
  const Passport& passport;  ///< the owner's
  /// What the thief starts from, an ordinary network: what an earlier attack left, with `model` as
  /// a judge would examine it. Null: what the owner released.
  const Model* stolen = nullptr;
  const train::Dataset* train = nullptr;  ///< what the attacker trains on
  const train::Dataset* test = nullptr;   ///< what accuracy is measured on
  const train::Dataset* triggers = nullptr;
  const train::Dataset* other_train = nullptr;  ///< another task, for transfer
  const train::Dataset* other_test = nullptr;
  uint64_t seed = 1;
  int64_t batch = 64;  ///< of training
  /// What is going on, for a progress line: "epoch 3/10".
  std::function<void(const std::string&)> progress = {};
};

/// What there is at one strength of the attack.
struct AttackPoint {
  double x = 0;  ///< strength, in AttackResult::axis
  /// The owner's claim on the attacked network, branches' accuracy on AttackInput::test with it.
  Claim owner;
  /// The forger's claim on it, for attacks that end in a passport or bits of their own.
  std::optional<Claim> forger = {};
  std::optional<train::Evaluation> triggers = {};
  /// What else the attack measures: name -> value ("cosine of keys").
  std::vector<std::pair<std::string, double>> metrics = {};
};

struct AttackResult {
  std::string axis;  ///< "share of weights pruned"
  /// The first is the untouched network.
  std::vector<AttackPoint> points;
  /// The thief's network as the last point left it, an ordinary one (scheme none): what he releases
  /// and a chained attack goes on with. Null where he has what he had.
  std::unique_ptr<Model> stolen;
};

/// What a setting takes.
struct SettingValues {
  enum class Kind { kText, kInteger, kNumber, kNumbers, kOneOf, kSomeOf, kSchedule };
  Kind kind = Kind::kText;
  double least = 0, most = 0;     ///< of numbers, both included
  std::string_view choices = {};  ///< "released | owner"
};
constexpr SettingValues any_text() { return {}; }
constexpr SettingValues integer_in(int64_t least, int64_t most) {
  return {SettingValues::Kind::kInteger, static_cast<double>(least), static_cast<double>(most)};
}
constexpr SettingValues number_in(double least, double most) {
  return {SettingValues::Kind::kNumber, least, most};
}
/// "0,0.1,0.2" or "0..1:0.1" (from, to, step, both ends included).
constexpr SettingValues numbers_in(double least, double most) {
  return {SettingValues::Kind::kNumbers, least, most};
}
constexpr SettingValues one_of(std::string_view choices) {
  return {.kind = SettingValues::Kind::kOneOf, .choices = choices};
}
/// With commas between them.
constexpr SettingValues some_of(std::string_view choices) {
  return {.kind = SettingValues::Kind::kSomeOf, .choices = choices};
}
constexpr SettingValues yes_or_no() { return one_of("yes | no"); }
/// What train::Schedule::parse takes.
constexpr SettingValues any_schedule() { return {.kind = SettingValues::Kind::kSchedule}; }

/// A setting of an attack: --set name=value.
struct AttackSetting {
  std::string_view name;
  std::string_view value;  ///< default
  SettingValues values;
  std::string_view help;
};

/// The settings of one run, by name; those not given have their defaults.
class AttackSettings {
 public:
  /// Error(kUsage): an unknown setting, with the nearest one's name, or a value that is none of its
  /// setting's.
  AttackSettings(std::span<const AttackSetting> known,
                 const std::map<std::string, std::string>& given);

  const std::string& text(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  std::vector<double> numbers(std::string_view name) const;     ///< in the order given
  std::vector<std::string> texts(std::string_view name) const;  ///< of some_of
  bool flag(std::string_view name) const;                       ///< yes

  const std::map<std::string, std::string, std::less<>>& all() const { return values_; }

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

/// One row of the registry in verify/attacks/attack.cpp.
struct Attack {
  std::string_view name;
  std::string_view description;  ///< one line
  std::string_view source;       ///< where it was published
  std::span<const AttackSetting> settings;
  /// Needs AttackInput::train (all measure on `test` where it is given).
  bool trains = false;
  AttackResult (*run)(const AttackInput& input, const AttackSettings& settings);
};

std::span<const Attack> attacks();
/// Error(kUsage) naming all when unknown.
const Attack& attack(std::string_view name);

// --- what attacks share

/// A copy of what the thief starts from: an ordinary network, batch norm's statistics with it.
std::unique_ptr<Model> stolen_copy(const AttackInput& input);
/// The owner's passport with the gate and statistics of the owner's network beside it, as its file
/// has them.
Passport owner_passport(const AttackInput& input);
/// An ordinary network with the owner's passport on it: what a judge examines.
std::unique_ptr<Model> before_judge(const AttackInput& input, const Model& suspect);

/// The owner's claim on `model`, a network with the passport's sites, as AttackPoint has it: no
/// random passports, evaluation on the test set (both branches) and on the triggers.
AttackPoint measure(const AttackInput& input, Model& model, double x);
/// The same on an ordinary network. Where the owner's scheme has no public branch (deepipr-v1) the
/// metric "stolen accuracy" is that of the suspect, with the scale and shift that it has.
AttackPoint measure_suspect(const AttackInput& input, Model& suspect, double x);
/// The first point of every attack: input.model as it is, with "stolen accuracy" as above.
AttackPoint measure_untouched(const AttackInput& input);
/// A forger's claim on `model`, a network with the forged passport's sites.
Claim measure_forger(const AttackInput& input, Model& model, const Passport& forged);

}  // namespace passnorm::verify
