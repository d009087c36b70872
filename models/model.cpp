#include "models/model.hpp"

#include <array>

#include "engine/io/text.hpp"
#include "engine/ops/ops.hpp"
#include "models/networks.hpp"

namespace passnorm {
namespace {

constexpr std::array<std::pair<std::string_view, kernels::NormKind>, 4> kNorms = {{
    {"batch", kernels::NormKind::kBatch},
    {"group", kernels::NormKind::kGroup},
    {"instance", kernels::NormKind::kInstance},
    {"layer", kernels::NormKind::kLayer},
}};

struct Convolved {
  Var y;
  Tensor sums;  ///< of y, where the norm's statistics can follow from them, or empty
};
Convolved convolve(const Layer& layer, const Pass& pass, const Var& x) {
  const bool sum = layer.norm->measures_one_block(pass.mode, x.lanes) && layer.dropout == 0 &&
                   !layer.convolution.bias().value && dispatch(pass.tape.stream(), [&](auto& s) {
                     return kernels::conv_may_sum(s, x.value.dtype());
                   });
  Convolved c;
  c.y = layer.convolution.forward(pass.tape, x, false, sum ? &c.sums : nullptr);
  return c;
}

}  // namespace

kernels::NormKind norm_kind(std::string_view name) {
  for (const auto& [known, kind] : kNorms)
    if (known == name) return kind;
  fail(Fault::kUsage, "unknown norm ", quote(name), "; known: batch, group, instance, layer");
}

std::string_view name_of(kernels::NormKind kind) {
  for (const auto& [name, known] : kNorms)
    if (known == kind) return name;
  fail(Fault::kBug, "norm kind ", static_cast<int>(kind));
}

Var Layer::forward(Pass& pass, const Var& x, const Epilogue& epilogue) const {
  if (norm) {
    auto [y, sums] = convolve(*this, pass, x);
    if (pass.dropout && pass.mode == Mode::kTrain)
      y = ops::dropout(
          pass.tape, y,
          {.probability = dropout, .seed = pass.dropout->seed, .step = pass.dropout->step});
    return norm->forward(pass, y, epilogue, sums);
  }
  const auto& [activation, residual, pool] = epilogue;
  const bool relu_first = activation == kernels::NormActivation::kReluThenAdd ||
                          (activation == kernels::NormActivation::kRelu && !residual.x.value);
  Var y = convolution.forward(pass.tape, x, relu_first);
  if (residual.x.value) {
    PASSNORM_CHECK(residual.lanes.empty(), "a folded layer adds one that is not folded");
    y = ops::add(pass.tape, y, residual.x, activation == kernels::NormActivation::kRelu);
  }
  return pool ? ops::max_pool(pass.tape, y, *pool) : y;
}

ops::Residual Layer::unapplied(Pass& pass, const Var& x) const {
  if (!norm) return forward(pass, x, {.activation = kernels::NormActivation::kIdentity});
  const auto [y, sums] = convolve(*this, pass, x);
  return norm->unapplied(pass, y, sums);
}

Site Layer::site() const {
  const bool linear = convolution.form() == ConvolutionForm::kVector;
  return {name, convolution.geometry(), linear ? Site::Kind::kLinear : Site::Kind::kConvolution};
}

Shape Model::input() const {
  const Shape& s = architecture_.input;
  return architecture_.of_points() ? Shape{1, options_.points, s[2]} : s;
}

Var Model::run_layer(Pass& pass, const Layer& layer, const Var& x, const Epilogue& epilogue) const {
  if (on_layer_input) on_layer_input(layer.name, x);
  return layer.forward(pass, x, epilogue);
}

ops::Residual Model::run_shortcut(Pass& pass, const Layer& layer, const Var& x) const {
  if (on_layer_input) on_layer_input(layer.name, x);
  return layer.unapplied(pass, x);
}

Var Model::forward(Pass& pass, const Var& x) {
  if (options_.folded && pass.mode == Mode::kTrain)
    fail(Fault::kUsage,
         "a folded network cannot be trained: it has no normalisation; train the network that it "
         "was made from");
  if (x.lanes.has(Branch::kPassport) && !sites_.empty()) {
    if (options_.folded)
      fail(Fault::kUsage, "a folded network has no passport branch, only sites to read");
    if (!pass.passport) fail(Fault::kSecret, "the passport branch needs the owner's passport");
    pass.raw = read(pass.tape, *pass.passport);
    pass.used = gate(pass.tape, pass.raw);
    if (on_passport_read) on_passport_read(pass);
  }
  return run(pass, x);
}

Var Model::read(Tape& tape, const OpenPassport& passport) const {
  PASSNORM_CHECK(passport.sites() == sites_, "the passport was opened for another model");
  std::vector<ops::ReadSite> reads;
  for (size_t i = 0; i < passport_layers_.size(); ++i) {
    const Convolution& c = passport_layers_[i]->convolution;
    const bool linear = sites_[i].kind == Site::Kind::kLinear;
    reads.push_back({c.weight(), linear ? c.bias() : Var{}, passport.digest(i)});
  }
  return ops::passport_read(tape, reads);
}

Var Model::gate(Tape& tape, const Var& raw) const {
  std::vector<ops::GateSite> gates;
  for (const Layer* layer : passport_layers_) {
    const Parameter *in = layer->norm->gate_in(), *out = layer->norm->gate_out();
    gates.push_back({layer->norm->spec().channels, in ? in->var : Var{}, out ? out->var : Var{}});
  }
  return ops::gate(tape, raw, gates);
}

std::vector<Site> Model::possible_sites() const {
  std::vector<Site> out;
  for (const Layer& layer : layers_)
    if (layer.can_carry_passport) out.push_back(layer.site());
  return out;
}

std::vector<int64_t> Model::site_channels() const {
  std::vector<int64_t> out;
  for (const Site& site : sites_) out.push_back(site.channels());
  return out;
}

bool Model::has_branch(Branch branch) const {
  if (options_.folded) return branch == Branch::kPublic;
  return branch == Branch::kPublic ? options_.plan.scheme->public_lane
                                   : options_.plan.scheme->passport;
}

Lanes Model::training_lanes() const {
  if (has_branch(Branch::kPublic) && has_branch(Branch::kPassport)) return Lanes::shared();
  return Lanes::only(has_branch(Branch::kPublic) ? Branch::kPublic : Branch::kPassport);
}

namespace models {
namespace {

const std::array kArchitectures = {
    Architecture{.name = "alexnet",
                 .description = "AlexNet for 32x32 images, 2.5 M parameters",
                 .input = {32, 32, 3},
                 .last = {"features.4", "features.5", "features.6"},
                 .make = make_alexnet},
    Architecture{.name = "resnet9",
                 .description = "ResNet-9 for 32x32 images, 4.9 M parameters",
                 .input = {32, 32, 3},
                 .last = {"layer4.*"},
                 .make = make_resnet9},
    Architecture{.name = "resnet18",
                 .description = "ResNet-18 for 32x32 images, 11.2 M parameters",
                 .input = {32, 32, 3},
                 .last = {"layer4.*"},
                 .make = make_resnet18},
    Architecture{.name = "pointnet",
                 .description = "PointNet for point clouds, 3.5 M parameters",
                 .input = {1, 1024, 3},
                 .last = {"*"},
                 .make = make_pointnet},
    Architecture{.name = "tiny",
                 .description = "four convolutions, one residual, 0.24 M parameters",
                 .input = {32, 32, 3},
                 .last = {"conv3", "conv4"},
                 .make = make_tiny},
};

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

const Architecture& architecture(std::string_view name) {
  std::string known;
  for (const Architecture& a : kArchitectures) {
    if (a.name == name) return a;
    known += concat(known.empty() ? "" : ", ", a.name);
  }
  fail(Fault::kUsage, "unknown model ", quote(name), "; known: ", known);
}

std::unique_ptr<Model> make(std::string_view name, const ModelOptions& options,
                            std::shared_ptr<Stream> stream) {
  const Architecture& row = architecture(name);
  return row.make(row, std::move(stream), options);
}

std::unique_ptr<Model> make(std::string_view name, const ModelOptions& options, Device device) {
  return make(name, options, make_stream(device));
}

}  // namespace models
}  // namespace passnorm
