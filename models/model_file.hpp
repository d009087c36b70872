// Models in files. The released file holds the public branch under the names of an ordinary
// network: nothing in it tells which layers carry a passport. What else the owner's network needs
// travels in the passport's file.
#pragma once

#include "engine/io/safetensors.hpp"
#include "models/model.hpp"

namespace passnorm::models {

/// How images were normalised for the model; kept in its file.
struct InputNormalisation {
  std::vector<float> mean;
  std::vector<float> stddev;
};

/// A tensor as it stands in files.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

/// What a tensor is called in a released file.
const std::string& released_name(const TensorSpec& spec);
/// The tensors of the public branch under released names, in file order. Error(kNumerics) when one
/// holds NaN or infinite values.
std::vector<NamedTensor> released_tensors(const Model& model);
/// Metadata that every form of the network has: architecture, classes, mean, std.
Metadata released_metadata(const Model& model, const InputNormalisation& normalisation);
/// The scale and shift that a passport gives at its sites, behind their gates, as the affine of
/// ordinary layers: `site`.bn.weight and .bias. What schemes without a public lane (deepipr-v1)
/// compute with.
std::vector<NamedTensor> passport_affine(const Model& model, const Passport& passport);

/// What a released file says.
struct ReleasedForm {
  Metadata metadata;
  std::vector<NamedTensor> tensors;

  std::vector<std::byte> bytes() const;  ///< of the file
};
ReleasedForm released_form(const Model& model, const InputNormalisation& normalisation);

/// A safetensors file: convolution weights [O, I, KH, KW] (of points [O, I, 1]), norm weights,
/// running statistics, classifier; metadata with architecture, classes, norm and normalisation.
/// deepipr-v1 has no affine at its sites: the passport ships with it. A folded network has biases
/// in place of norms, and "norm" is "folded".
void save_released(const Model& model, const std::string& path,
                   const InputNormalisation& normalisation);

/// Gate and running statistics of the passport lane, into passport.lane_state.
void take_lane_state(const Model& model, Passport& passport);

struct LoadedModel {
  std::unique_ptr<Model> model;
  InputNormalisation normalisation;
  /// false: scales and shifts come from a passport that is not at hand and are 1 and 0; the
  /// signature can be read, the network's outputs are not what they were (load_suspect only).
  bool complete = true;
};

/// passport null: an ordinary network of the public branch. Else the passport's sites and scheme,
/// with its lane state; a folded network keeps the sites for reading. Error(kInput) when a tensor
/// is missing, unknown, of another shape, or not finite; Error(kSecret) when the model's scale and
/// shift come from a passport and none is given.
LoadedModel load_released(const std::string& path, const Passport* passport,
                          std::shared_ptr<Stream> stream);
/// The same of an open file, or of bytes().
LoadedModel load_released(const SafeTensors& file, const Passport* passport,
                          std::shared_ptr<Stream> stream);

/// load_released for a judge, who reads raw scales: these depend on no scale and shift, so that a
/// thief cannot escape by changing where those come from. A file that has its own at the sites of a
/// scheme without a public lane (a thief's deepipr-v1 network with an affine trained anew): they
/// are left out. A file without (a stolen network shipped as deepipr-v1, with the thief's
/// passport): where the passport's scheme needs them, they are 1 and 0, and complete is false.
LoadedModel load_suspect(const std::string& path, const Passport& passport,
                         std::shared_ptr<Stream> stream);
LoadedModel load_suspect(const SafeTensors& file, const Passport& passport,
                         std::shared_ptr<Stream> stream);

}  // namespace passnorm::models
