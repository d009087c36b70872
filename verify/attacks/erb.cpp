// Expanded residual blocks: the scale that the passport would give is learned behind a small
// residual network, which helps it to change its sign; all other weights are frozen. Chen, Tian,
// Chen, Zhou: Effective Ambiguity Attack Against Passport-based DNN Intellectual Property
// Protection Schemes through Fully Connected Layer Substitution (CVPR 2023). It came after the two
// papers that this project reproduces.
#include <algorithm>
#include <cmath>

#include "kernels/elementwise.hpp"
#include "models/copy.hpp"
#include "train/batches.hpp"
#include "verify/attacks/rewrite.hpp"
#include "verify/attacks/rows.hpp"
#include "verify/attacks/training.hpp"

namespace passnorm::verify {
namespace {

using kernels::NormActivation;

/// Arithmetic on vectors [1, C], by the op that multiplies and adds by channel and has gradients of
/// all three: a norm, whose statistics are 0 and 1 here. Vectors of C numbers once a step, beside a
/// pass of the whole network: too little for a kernel of their own on two devices.
class Rows {
 public:
  Rows(Tape& tape, int64_t channels)
      : tape_(tape),
        geometry_(kernels::NormGeometry::of(kernels::NormKind::kBatch, 1, 1, channels, 1, 1)),
        mean_(Tensor::zeros(tape.stream(), {1, channels})),
        one_(filled(1)) {}

  /// a b + c; without a value c is 0.
  Var multiply_add(const Var& a, const Var& b, const Var& c,
                   NormActivation activation = NormActivation::kIdentity) const {
    return ops::norm(tape_, a, {}, {{mean_, one_, b, c}},
                     {.geometry = geometry_, .activation = activation, .fixed_statistics = true});
  }
  /// max(x, 0.01 x) = relu(0.99 x) + 0.01 x
  Var leaky_relu(const Var& x) const {
    constexpr float kSlope = 0.01f;
    const Var most{filled(1 - kSlope), {}, nullptr}, rest{filled(kSlope), {}, nullptr};
    return ops::add(tape_, multiply_add(x, most, {}, NormActivation::kRelu),
                    multiply_add(x, rest, {}), false);
  }

 private:
  Tensor filled(float value) const {
    const Tensor t = Tensor::empty(tape_.stream(), {1, geometry_.channels});
    dispatch(tape_.stream(), [&](auto& s) { kernels::fill(s, {.y = t.view(), .value = value}); });
    return t;
  }

  Tape& tape_;
  kernels::NormGeometry geometry_;
  Tensor mean_, one_;
};

/// scale = block(gamma) + gamma, shift = beta.
class ExpandedAffine final : public AffineSource {
 public:
  /// hidden: of each channel's own block (IERB: 1, hidden, 1), or 0 for one block of all channels
  /// (CERB: C, C / 8, C).
  ExpandedAffine(ParameterSet& set, const std::string& name, int64_t channels, int64_t hidden)
      : channels_(channels), hidden_(hidden) {
    gamma_ = add(set, name + ".gamma", {1, channels}, Init::constant(1));
    beta_ = add(set, name + ".beta", {channels}, Init::constant(0));
    if (hidden == 0) {
      const int64_t width = std::max<int64_t>(channels / 8, 1);
      in_ = {linear(set, name + ".in", channels, width)};
      out_ = {linear(set, name + ".out", width, channels)};
      return;
    }
    for (int64_t i = 0; i < hidden; ++i) {
      in_.push_back(of_channels(set, concat(name, ".in.", i), 1));
      out_.push_back(of_channels(set, concat(name, ".out.", i), hidden));
    }
  }

  Affine affine(const Pass& pass) const override {
    Tape& tape = pass.tape;
    const Var& gamma = gamma_->var;
    const Rows rows(tape, channels_);
    Var scale = gamma;
    if (hidden_ == 0) {
      const Rows hidden(tape, in_[0].weight->spec.shape[0]);
      const Var u = ops::linear(tape, gamma, in_[0].weight->var, in_[0].bias->var);
      scale = ops::add(
          tape, scale,
          ops::linear(tape, hidden.leaky_relu(u), out_[0].weight->var, out_[0].bias->var), false);
    }
    for (size_t i = 0; i < static_cast<size_t>(hidden_); ++i) {
      const Var u = rows.multiply_add(gamma, in_[i].weight->var, in_[i].bias->var);
      // The one bias of a channel's output is the sum of the hidden units' shares of it.
      scale = ops::add(
          tape, scale,
          rows.multiply_add(rows.leaky_relu(u), out_[i].weight->var, out_[i].bias->var), false);
    }
    return {scale.reshape({channels_}), beta_->var};
  }

 private:
  struct Layer {
    const Parameter *weight, *bias;
  };
  static const Parameter* add(ParameterSet& set, const std::string& name, const Shape& shape,
                              const Init& init) {
    return &set.add({.name = name, .shape = shape, .init = init});
  }
  static Init fan_in(int64_t inputs) {
    return Init::uniform(1 / std::sqrt(static_cast<float>(inputs)));
  }
  static Layer linear(ParameterSet& set, const std::string& name, int64_t inputs, int64_t outputs) {
    return {add(set, name + ".weight", {outputs, inputs}, fan_in(inputs)),
            add(set, name + ".bias", {outputs}, fan_in(inputs))};
  }
  Layer of_channels(ParameterSet& set, const std::string& name, int64_t inputs) const {
    return {add(set, name + ".weight", {channels_}, fan_in(inputs)),
            add(set, name + ".bias", {channels_}, fan_in(inputs))};
  }

  int64_t channels_, hidden_;
  const Parameter *gamma_, *beta_;
  std::vector<Layer> in_, out_;
};

constexpr AttackSetting kSettings[] = {
    {"block", "cerb", one_of("cerb | ierb"),
     "cerb: one block of all channels; ierb: a block for every channel"},
    {"hidden", "10", integer_in(1, 1000), "hidden units of a channel's block (ierb)"},
    {"share", "0.1", number_in(0, 1), "share of the training data that the thief has"},
    {"epochs", "20", kEpochCounts, "epochs"},
    {"lr", "0.01", kRates, "learning rate"},
    {"weight-decay", "0.0005", kDecays, "weight decay"},
};

class ExpandedResidualBlocks {
 public:
  ExpandedResidualBlocks(const AttackInput& input, const train::FitOptions& options, int64_t hidden)
      : input_(input), options_(options), thief_(stolen_copy(input)) {
    thief_->parameters().train_only(stream(), [](const TensorSpec&) { return false; });
    for (const Site& site : input.model.sites()) {
      sources_.push_back(
          std::make_shared<ExpandedAffine>(blocks_, site.name, site.channels(), hidden));
      for (Layer& layer : thief_->layers())
        if (layer.name == site.name) layer.norm->set_source(Branch::kPublic, sources_.back());
    }
    blocks_.allocate(stream(), input.seed);
  }

  AttackResult run(const train::Dataset& data) {
    AttackResult result{.axis = "epochs", .points = {measure_untouched(input_)}, .stolen = nullptr};
    train::Batches batches(stream(), {.train = data}, options_);
    train::Optimizer optimizer(stream(), blocks_, options_.optimizer);
    for (int64_t epoch = 1; epoch <= options_.epochs; ++epoch) {
      for (int64_t step = 0; step < batches.steps(); ++step) {
        const train::Position at{epoch - 1, step};
        learn(batches.at(at), {.seed = options_.seed, .step = batches.number(at)}, optimizer);
      }
      report_progress(input_, concat("epoch ", epoch, "/", options_.epochs));
      result.stolen = folded();
      result.points.push_back(point(*result.stolen, static_cast<double>(epoch)));
    }
    return result;
  }

 private:
  Stream& stream() const { return thief_->stream(); }

  void learn(const train::Batch& batch, const DropoutMasks& dropout, train::Optimizer& optimizer) {
    const MemoryPlan::Run run(*stream().memory(), plan_);
    Tape tape(stream());
    blocks_.begin_gradients();
    Pass pass{.tape = tape, .mode = Mode::kTrain, .dropout = dropout};
    const Var logits = thief_->forward(pass, {batch.x, Lanes::only(Branch::kPublic), nullptr});
    ops::cross_entropy(tape, logits, batch.labels);
    tape.backward();
    blocks_.finish_gradients(stream());
    if (optimizer.step(1).skipped)
      fail(Fault::kNumerics, "the loss or its gradient is NaN or infinite; lower lr");
  }

  /// The network with the blocks' scale and shift as ordinary ones: they do not depend on data.
  std::unique_ptr<Model> folded() const {
    auto out = models::copy_of(*thief_);
    Tape tape(stream(), Tape::Mode::kForwardOnly);
    const Pass pass{.tape = tape, .mode = Mode::kEvaluate};
    for (size_t i = 0; i < sources_.size(); ++i) {
      const std::string& name = input_.model.sites()[i].name;
      const Affine affine = sources_[i]->affine(pass);
      for (const auto& [what, value] :
           {std::pair{".bn.weight", &affine.scale}, {".bn.bias", &affine.shift}})
        dispatch(stream(), [&, what = what, value = value](auto& s) {  // as clang 14 wants it
          kernels::cast(s, {.x = value->value.view(),
                            .y = out->parameters().find(name + what)->var.value.view()});
        });
    }
    return out;
  }

  AttackPoint point(Model& stolen, double epoch) const {
    AttackPoint p = measure_suspect(input_, stolen, epoch);
    const auto genuine = raw_scales(input_.model, input_.passport);
    double different = 0;
    for (size_t i = 0; i < genuine.size(); ++i) {
      const std::string& site = input_.model.sites()[i].name;
      const std::vector<float> scale =
          stolen.parameters().find(site + ".bn.weight")->var.value.to_host(stream());
      for (size_t c = 0; c < scale.size(); ++c) different += !(scale[c] * genuine[i][c] > 0);
    }
    p.metrics.emplace_back("bit dissimilarity rate",
                           different / static_cast<double>(input_.passport.bit_count()));
    return p;
  }

  const AttackInput& input_;
  const train::FitOptions& options_;
  std::unique_ptr<Model> thief_;
  ParameterSet blocks_;
  std::vector<std::shared_ptr<ExpandedAffine>> sources_;
  MemoryPlan plan_;
};

AttackResult erb(const AttackInput& input, const AttackSettings& settings) {
  const train::FitOptions options = fit_options(input, settings, /*weights=*/false);
  const int64_t hidden = settings.integer("hidden");
  const bool ierb = settings.text("block") == "ierb";
  const train::Dataset data = part_of_training_data(input, settings.number("share"));
  return ExpandedResidualBlocks(input, options, ierb ? hidden : 0).run(data);
}

}  // namespace

Attack erb_attack() {
  return {.name = "erb",
          .description =
              "scales learned behind residual blocks, all other weights frozen; later "
              "than the two papers",
          .source = "Chen et al.: Effective Ambiguity Attack (CVPR 2023), CERB and IERB",
          .settings = kSettings,
          .trains = true,
          .run = erb};
}

}  // namespace passnorm::verify
