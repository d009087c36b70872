// Models in files. The released file holds the public branch under the names of an ordinary
// network: nothing in it tells which layers carry a passport. What else the owner's network needs
// travels in the passport's file.
#pragma once

#include "models/model.hpp"

namespace passnorm::models {

/// How images were normalised for the model; kept in its file.
struct InputNormalisation {
  std::vector<float> mean;
  std::vector<float> stddev;
};

/// A safetensors file: convolution weights [O, I, KH, KW], norm weights, running statistics,
/// classifier; metadata with architecture, classes, norm and normalisation. deepipr-v1 has no
/// affine at its sites: the passport ships with it.
void save_released(const Model& model, const std::string& path,
                   const InputNormalisation& normalisation);

/// Gate and running statistics of the passport lane, into passport.lane_state.
void take_lane_state(const Model& model, Passport& passport);

struct LoadedModel {
  std::unique_ptr<Model> model;
  InputNormalisation normalisation;
};

/// passport null: an ordinary network of the public branch. Else the passport's sites and scheme,
/// with its lane state. Error(kInput) when a tensor is missing, unknown, of another shape, or not
/// finite; Error(kSecret) when the model's scale and shift come from a passport and none is given.
LoadedModel load_released(const std::string& path, const Passport* passport,
                          std::shared_ptr<Stream> stream);

}  // namespace passnorm::models
