// passnorm data: what networks are trained with beside a task's own images or clouds.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "cli/app.hpp"
#include "cli/options.hpp"
#include "engine/io/text.hpp"
#include "train/data/npy.hpp"
#include "train/data/trigger_binding.hpp"
#include "train/data/trigger_pictures.hpp"
#include "verify/examine.hpp"

namespace passnorm::cli {
namespace {

struct Triggers {
  std::string folder, owner_file, signature;
  train::GenerateOptions generate;
  std::optional<uint64_t> seed;
  PassphraseArgument passphrase;
  bool seal = false, json = false;
  const CLI::App* call = nullptr;  ///< what was said on the command line

  void add_secret_to(CLI::App& command, OptionTable& options) {
    options.text("signature", signature, "the name that a claim with these triggers is for",
                 "TEXT");
    options.integer("seed", seed,
                    "draw the secret from it: repeatable, and guessable [the operating system]", 0,
                    std::numeric_limits<int64_t>::max());
    options.call_flag("seal", seal, "seal the secret with a passphrase");
    passphrase.add_to(command);
  }

  train::TriggerOwner owner() const {
    if (seed)
      fmt::print(stderr, "note: the secret follows from --seed {}: repeatable, and guessable\n",
                 *seed);
    return {
        seed ? Secret32(hash256("passnorm triggers of a seed v1", {*seed})) : Secret32::random(),
        signature};
  }
};

/// Keeps the owner's secret, and runs `make`, which writes a set for it: a set whose secret is lost
/// would be worth nothing.
train::TriggerManifest with_owner(
    const Triggers& o,
    const std::function<train::TriggerManifest(const train::TriggerOwner&)>& make) {
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::symlink_status(o.owner_file, ignored)))
    fail(Fault::kInput, o.owner_file, ": exists already; a secret is not written over");
  std::optional<SecretText> passphrase;
  if (o.seal) passphrase = o.passphrase.choose(o.owner_file);
  const train::TriggerOwner owner = o.owner();
  owner.save(o.owner_file, passphrase ? &*passphrase : nullptr);
  try {
    return make(owner);
  } catch (...) {
    std::filesystem::remove(o.owner_file, ignored);  // of a set that is not there
    throw;
  }
}

/// Without an owner the labels are free.
void print(const Triggers& o, const train::TriggerManifest& manifest) {
  const auto count = static_cast<int64_t>(manifest.images.size());
  const double bits = manifest.bound ? static_cast<double>(count) *
                                           std::log2(static_cast<double>(manifest.bound->classes))
                                     : 0;
  if (o.json) {
    Json json = {{"triggers", o.folder}, {"count", count}, {"bound", manifest.bound.has_value()}};
    if (const auto& b = manifest.bound) {
      json["classes"] = b->classes;
      json["generated_side"] = b->generated_side;
      json["generated_points"] = b->generated_points;
      json["owner_file"] = o.owner_file;
      json["commitment"] = to_hex(b->commitment);
      json["log2_p_least"] = -bits;
    }
    print_json(json);
    return;
  }
  const bool clouds = manifest.images[0].file.ends_with(".npy");
  const char* const noun = clouds ? "clouds" : "pictures";
  fmt::print("triggers    {}   {} {} and manifest.json, to train with: --triggers {}\n", o.folder,
             count, noun, o.folder);
  if (!manifest.bound) {
    fmt::print("labels      free: with them a claim is inconclusive at best\n");
    return;
  }
  const bool drawn = manifest.bound->generated_side > 0 || manifest.bound->generated_points > 0;
  fmt::print("owner       {}   to keep: the secret that the labels{} follow from\n", o.owner_file,
             drawn ? fmt::format(" and {}", noun) : "");
  if (o.signature.empty())
    fmt::print("name        none: a claim for nobody is inconclusive at best; give --signature\n");
  fmt::print("commitment  {}\n            may be published, with a date, before the network is\n",
             to_hex(manifest.bound->commitment));
  fmt::print("chance      2^-{:.0f} that a network gives all of them their labels{}\n", bits,
             -bits <= verify::kLog2Threshold ? ""
                                             : fmt::format("; a claim needs 2^{:.0f}: draw more {}",
                                                           verify::kLog2Threshold, noun));
}

int run_triggers(Triggers o) {
  if (o.call->count("--size") > 0 && o.generate.points > 0)
    fail(Fault::kUsage, "--size is of pictures, --points of clouds: a set has either");
  if (o.owner_file.empty()) {
    while (o.folder.ends_with('/') && o.folder.size() > 1) o.folder.pop_back();
    o.owner_file = o.folder + ".owner";
    std::error_code ignored;  // writing the secret tells
    std::filesystem::create_directories(std::filesystem::path(o.owner_file).parent_path(), ignored);
  }
  print(o, with_owner(o, [&](const train::TriggerOwner& owner) {
          return train::generate_triggers(o.folder, owner, o.generate);
        }));
  return kYes;
}

int run_manifest(const Triggers& o) {
  if (o.owner_file.empty()) {
    if (!o.signature.empty() || o.seed || o.seal)
      fail(Fault::kUsage, "labels that follow from a secret need --owner-file FILE to keep it in");
    print(o, train::write_trigger_manifest(o.folder, o.generate.classes));
    return kYes;
  }
  print(o, with_owner(o, [&](const train::TriggerOwner& owner) {
          return train::bind_triggers(o.folder, owner, o.generate.classes);
        }));
  return kYes;
}

}  // namespace

void add_data(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("data", "Make triggers, and lists of them");
  command->require_subcommand(1);
  command->footer(
      "passnorm data COMMAND --help explains a command and shows examples.\n"
      "Example: passnorm data triggers --out t --signature '(c) Alice 2026'");

  CLI::App* triggers = command->add_subcommand(
      "triggers", "Draw trigger pictures, or clouds, whose labels follow from a secret");
  const auto t = std::make_shared<Triggers>();
  t->call = triggers;
  OptionTable of_triggers(*triggers);
  of_triggers.text("out", t->folder, "folder for manifest.json and the files; may be shown", "DIR")
      .required();
  of_triggers.integer("count", t->generate.count, "how many", 1,
                      static_cast<int64_t>(train::kMaxTriggers));
  of_triggers.integer("classes", t->generate.classes,
                      "of the network: labels are uniform among them", 2,
                      train::kMaxTriggerClasses);
  of_triggers.integer("size", t->generate.side,
                      "of pictures, pixels a side: those of the network's input",
                      train::kMinTriggerSide, train::kMaxTriggerSide);
  of_triggers.integer("points", t->generate.points,
                      "clouds of so many points, for pointnet; 0 = pictures", 0, train::kMaxPoints);
  of_triggers.text("owner-file", t->owner_file, "for the secret [OUT.owner]", "FILE");
  t->add_secret_to(*triggers, of_triggers);
  of_triggers.call_flag("json", t->json, "one JSON document on stdout");
  triggers->footer(
      "Examples:\n"
      "  passnorm data triggers --out t --signature '(c) Alice 2026'\n"
      "  passnorm train --scheme deepipr-v3 --triggers t --data cifar10:data --out runs/a\n"
      "  passnorm verify runs/a --black-box --triggers t --owner-file t.owner\n"
      "  # for ModelNet40:\n"
      "  passnorm data triggers --out c --points 1024 --classes 40");
  triggers->callback([t, &action] { action = [t] { return run_triggers(*t); }; });

  CLI::App* manifest = command->add_subcommand(
      "manifest",
      "List the pictures in DIR/pics, or clouds in DIR/clouds, with the labels of labels-cifar.txt "
      "or bound ones");
  const auto m = std::make_shared<Triggers>();
  manifest
      ->add_option("folder", m->folder,
                   "with pics/ or clouds/, and labels-cifar.txt unless labels are bound")
      ->required()
      ->type_name("DIR");
  OptionTable of_manifest(*manifest);
  of_manifest.integer("classes", m->generate.classes, "of the network", 2,
                      train::kMaxTriggerClasses);
  of_manifest.text("owner-file", m->owner_file,
                   "draw the labels anew, from a secret that is kept here", "FILE");
  m->add_secret_to(*manifest, of_manifest);
  of_manifest.call_flag("json", m->json, "one JSON document on stdout");
  manifest->footer(
      "Examples:\n"
      "  passnorm data manifest WatermarkNN --classes 10\n"
      "  passnorm data manifest pictures --owner-file alice.owner --signature '(c) Alice 2026'");
  manifest->callback([m, &action] { action = [m] { return run_manifest(*m); }; });
}

}  // namespace passnorm::cli
