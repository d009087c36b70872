// Models: networks made of named layers. They never name a branch; the passport plan decides what
// each layer's normalisation does.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "engine/nn/layers.hpp"
#include "engine/passport/passport_norm.hpp"

namespace passnorm {

struct ModelOptions {
  int64_t classes = 10;
  kernels::NormKind norm = kernels::NormKind::kBatch;
  PassportPlan plan = {};
  /// Batch norm has become part of the convolutions (models/export.hpp): these have a bias, no
  /// layer normalises. The public branch in evaluation mode is all that is left; sites can still be
  /// read.
  bool folded = false;
  /// The references' passport ResNets: ReLU also after the second convolution and the shortcut of a
  /// block.
  bool residual_relu = false;
  /// Of the ordinary layers with instance norm or no norm at all, those with a learned affine. By
  /// default all of them beside a public branch, which has one at its sites (else a released file
  /// would tell where they are), and none in a plain network; the references' instance norms have
  /// none in either.
  std::optional<std::vector<std::string>> affine_layers = {};
  /// Of the layers that have a bias in plain networks only (PointNet's convolutions that can carry
  /// a passport), those with one. By default all of them in a plain network and none beside a
  /// passport.
  std::optional<std::vector<std::string>> bias_layers = {};
  /// L of point clouds. No weight depends on it, but the keys of sites do.
  int64_t points = 1024;
  /// PointNet: probability that an activation before p2's norm is dropped in training.
  float dropout = 0.4f;
  /// PointNet: what training keeps small of the feature transform; the references have kTimesGram.
  kernels::OrthogonalityForm orthogonality = kernels::OrthogonalityForm::kGram;
  uint64_t seed = 1;
  /// false: weights are zero until they are loaded.
  bool initialise = true;
};

/// batch | group | instance | layer; Error(kUsage) for others.
kernels::NormKind norm_kind(std::string_view name);
std::string_view name_of(kernels::NormKind kind);

/// A convolution or linear layer and its normalisation, or in a folded network one with a bias
/// alone.
struct Layer {
  std::string name;
  Convolution convolution;
  std::optional<PassportNorm> norm = {};
  bool can_carry_passport = true;
  float dropout = 0;  ///< between the two

  Var forward(Pass& pass, const Var& x, const Epilogue& epilogue = {}) const;
  /// The layer without activation, its norm to be applied by the layer that adds it.
  ops::Residual unapplied(Pass& pass, const Var& x) const;
  Site site() const;
};

class Model;

/// One row of the registry in models/model.cpp.
struct Architecture {
  std::string_view name;
  std::string_view description;
  Shape input;                         ///< [H, W, C] of one image; of a point cloud [1, L, C],
                                       ///< where ModelOptions::points gives L
  std::vector<std::string_view> last;  ///< what --sites last means
  std::unique_ptr<Model> (*make)(const Architecture&, std::shared_ptr<Stream>, const ModelOptions&);

  bool of_points() const { return input[0] == 1; }
};

class Model {
 public:
  virtual ~Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  /// Logits [lanes N, classes] of x [N, H, W, C]. Reads the passport first when x's lanes have the
  /// passport branch.
  Var forward(Pass& pass, const Var& x);

  const Architecture& architecture() const { return architecture_; }
  /// [H, W, C] of one image, [1, L, C] of one point cloud.
  Shape input() const;
  const ModelOptions& options() const { return options_; }
  Stream& stream() const { return *stream_; }
  const std::shared_ptr<Stream>& shared_stream() const { return stream_; }
  /// The layers that carry a passport, in the order in which the model was built.
  const std::vector<Site>& sites() const { return sites_; }
  /// All layers that can.
  std::vector<Site> possible_sites() const;
  /// C of each passport site.
  std::vector<int64_t> site_channels() const;

  ParameterSet& parameters() { return parameters_; }
  const ParameterSet& parameters() const { return parameters_; }
  const std::deque<Layer>& layers() const { return layers_; }
  std::deque<Layer>& layers() { return layers_; }

  bool has_branch(Branch branch) const;
  /// Training stands for both branches where the scheme has both, else for the one it has.
  Lanes training_lanes() const;

  OpenPassport open(const Passport& passport) const {
    return OpenPassport(*stream_, passport, sites_);
  }
  /// The memory of a training step or an evaluation that repeats: a plan per key.
  MemoryPlan& memory_plan(const std::vector<int64_t>& key) { return memory_plans_[key]; }
  /// Raw scales and shifts without a forward pass: per site [2, C].
  Var read(Tape& tape, const OpenPassport& passport) const;
  /// What the normalisation layers apply of them: behind the sites' gates.
  Var gate(Tape& tape, const Var& raw) const;

  /// Called with each layer's name and input during forward, when set (key propagation).
  std::function<void(const std::string&, const Var&)> on_layer_input;
  /// Called when forward has read the passport, when set; may put another value into Pass::used
  /// (attacks that bring scales of their own).
  std::function<void(Pass&)> on_passport_read;

 protected:
  Model(const Architecture& architecture, std::shared_ptr<Stream> stream, ModelOptions options)
      : architecture_(architecture), stream_(std::move(stream)), options_(std::move(options)) {}

  /// The network behind the reading of the passport.
  virtual Var run(Pass& pass, const Var& x) = 0;
  Var run_layer(Pass& pass, const Layer& layer, const Var& x, const Epilogue& epilogue = {}) const;
  /// A layer that another one adds.
  ops::Residual run_shortcut(Pass& pass, const Layer& layer, const Var& x) const;

 private:
  friend class Builder;

  const Architecture& architecture_;
  std::shared_ptr<Stream> stream_;
  ModelOptions options_;
  ParameterSet parameters_;
  std::deque<Layer> layers_;
  std::vector<const Layer*> passport_layers_;
  std::vector<Site> sites_;
  std::map<std::vector<int64_t>, MemoryPlan> memory_plans_;
};

namespace models {

std::span<const Architecture> architectures();
/// Error(kUsage) naming all when unknown.
const Architecture& architecture(std::string_view name);

/// Error(kUsage) when the plan names sites that the model has not, or the norm does not fit.
std::unique_ptr<Model> make(std::string_view architecture, const ModelOptions& options,
                            std::shared_ptr<Stream> stream);
std::unique_ptr<Model> make(std::string_view architecture, const ModelOptions& options,
                            Device device = Device::best());

}  // namespace models
}  // namespace passnorm
