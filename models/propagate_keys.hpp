// Passports from images: keys are what a pretrained ordinary network computes of secret pictures
// (DeepIPR, section on passports; both references' `image` and `shuffle`).
#pragma once

#include "models/model.hpp"

namespace passnorm::models {

/// Normalised pictures [n, H, W, C], one set per key: `shift` is drawn first, as in the references.
struct KeyImages {
  Tensor shift;
  Tensor scale;
};

struct PropagateOptions {
  Secret32 secret;  ///< picks channels
  Signature signature;
  Passport::Source source = Passport::Source::kShuffle;
  /// Batch norm takes the statistics of the key images and updates its own, as in the references
  /// (their pretrained network stays in training mode).
  bool batch_statistics = false;
};

/// The key of a site is the pretrained network's input to the layer of that name. With n > 1
/// pictures it is reduced to one: an image of three channels is one whole picture, picked at
/// random; otherwise channel j is a random channel of picture j mod n, none of a picture twice.
/// Error(kUsage) when the network has no such layer.
Passport propagate_keys(Model& pretrained, std::span<const Site> sites, const KeyImages& images,
                        const PropagateOptions& options);

}  // namespace passnorm::models
