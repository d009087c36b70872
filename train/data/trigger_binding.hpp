// Triggers, pictures or clouds of points, whose labels could not be chosen.
//
// That a network gives pictures the labels of a list proves something only if the list could not be
// written after seeing the network: anyone can collect pictures and write down what it answers, or
// tune them until it answers as wanted. Bound labels follow from a secret, the name that the
// claim is for, and all the files (engine/io/crypto.hpp has the notation):
//   digest     = hash256("passnorm trigger pictures v1", SHA-256 of file 1, .., of file n)
//   label[j]   = LE64(first 8 bytes of keyed_hash256(secret, "passnorm trigger label v1",
//                signature, K, n, digest, j)) mod K,   j = 0 .. n-1, K classes
//   commitment = keyed_hash256(secret, "passnorm trigger commitment v1", signature)
// Changing one file, the name or the secret draws all labels anew, so to whoever made the list
// they were as random as to the network: each is y with probability 1/K (to within K 2^-64).
// Generated ones follow from the secret too: picture j (trigger_pictures.hpp) or cloud j
// (trigger_clouds.hpp) of key
//   keyed_hash256(secret, "passnorm trigger picture key v1", signature, K, n, side)
//   keyed_hash256(secret, "passnorm trigger cloud key v1", signature, K, n, points)
// The commitment may be published, with a date, and tells nothing of the secret. It fixes secret
// and name, not the files: from one secret sets can be drawn at will, and each that was tried
// counts in a claim's tests. Nor does it name a network, and a thief can train a set of his own
// into a stolen one: only a date of the network's file, by its hash, beside it tells who had the
// network first.
#pragma once

#include "engine/passport/passport.hpp"
#include "train/data/trigger_set.hpp"

namespace passnorm::train {

/// The owner's half of a trigger set, in a file of its own (mode 0600).
struct TriggerOwner {
  Secret32 secret;
  std::string signature;  ///< the name that the claim is for

  /// A safetensors file: metadata "format" = "passnorm.trigger-owner/1" and "signature", tensor
  /// "secret" u8 [32]; sealed when there is a passphrase. Error(kInput) for a path that exists: a
  /// secret is never written over.
  void save(const std::string& path, const SecretText* passphrase = nullptr,
            SealCost cost = {}) const;
  /// Error(kInput) for a file that is none. Error(kSecret) as Passport::load.
  static TriggerOwner load(const std::string& path, const AskPassphrase& ask = {});
  static TriggerOwner parse(const std::string& name, SecretBytes bytes);
};

/// How files that follow from the secret were drawn: none (given ones), pictures or clouds.
struct Generated {
  int64_t side = 0;    ///< of pictures
  int64_t points = 0;  ///< of clouds
};

/// Gives the files of the list, whose hashes are known, the labels and the commitment above.
void bind_labels(TriggerManifest& manifest, const TriggerOwner& owner, int64_t classes,
                 const Generated& generated = {});

struct GenerateOptions {
  int64_t count = 100;
  int64_t classes = 10;
  int64_t side = 32;   ///< of pictures, in pixels
  int64_t points = 0;  ///< of clouds; 0: pictures are drawn
};

/// Writes pics/0000.png, .. or clouds/0000.npy, .. and manifest.json into `folder`, which must be
/// empty or not exist (Error(kInput) otherwise): nothing in it tells the secret.
TriggerManifest generate_triggers(const std::string& folder, const TriggerOwner& owner,
                                  const GenerateOptions& options);

/// Writes a manifest for the files of `folder` (list_pictures) with labels bound to `owner`.
/// Error(kInput) when there is a manifest already.
TriggerManifest bind_triggers(const std::string& folder, const TriggerOwner& owner,
                              int64_t classes);

/// Empty when labels and, where they are said to be generated, files of the set in `folder` are
/// those that follow from the owner's secret; otherwise why not, in a few words. classes as
/// read_triggers, and its errors.
std::string why_unbound(const std::string& folder, int64_t classes, const TriggerOwner& owner);

}  // namespace passnorm::train
