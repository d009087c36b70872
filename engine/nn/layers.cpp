#include "engine/nn/layers.hpp"

#include <cmath>

#include "engine/ops/ops.hpp"

namespace passnorm {
namespace {

Init fan_in(int64_t inputs) { return Init::uniform(1 / std::sqrt(static_cast<float>(inputs))); }

TensorSpec weight_spec(const std::string& name, const kernels::ConvGeometry& g,
                       const ConvolutionOptions& options) {
  TensorSpec spec{
      .name = name + ".weight",
      .shape = {g.o, g.kh, g.kw, g.c},
      .init = options.init == WeightInit::kFanIn
                  ? fan_in(g.window())
                  : Init::normal(std::sqrt(2.0f / static_cast<float>(g.o * g.kh * g.kw))),
      .layout = FileLayout::kConvolution};
  if (options.form == ConvolutionForm::kPoints) spec.layout = FileLayout::kPoints;
  if (options.form == ConvolutionForm::kVector) {
    spec.shape = {g.o, g.c};
    spec.layout = FileLayout::kSame;
  }
  return spec;
}

}  // namespace

Convolution::Convolution(ParameterSet& set, const std::string& name, const kernels::ConvGeometry& g,
                         const ConvolutionOptions& options)
    : name_(name),
      geometry_(g),
      form_(options.form),
      weight_(&set.add(weight_spec(name, g, options))) {
  PASSNORM_CHECK(form_ == ConvolutionForm::kPictures || (g.h == 1 && g.kh == 1 && g.kw == 1), name,
                 ": points and vectors have no height");
  geometry_.n = 1;
  if (options.bias)
    bias_ = &set.add({.name = name + ".bias", .shape = {g.o}, .init = fan_in(g.window())});
}

Var Convolution::forward(Tape& tape, const Var& x, bool relu, Tensor* sums) const {
  const kernels::ConvGeometry& g = geometry_;
  return ops::convolution(tape, x, weight_->var.reshape({g.o, g.kh, g.kw, g.c}), bias(), g.stride,
                          g.pad, relu, sums, name_);
}

Linear::Linear(ParameterSet& set, const std::string& name, int64_t inputs, int64_t outputs,
               int64_t positions)
    : name_(name) {
  const Init init = fan_in(inputs);
  weight_ = &set.add({.name = name + ".weight",
                      .shape = {outputs, inputs},
                      .init = init,
                      .layout = positions > 1 ? FileLayout::kFlattened : FileLayout::kSame,
                      .positions = positions});
  bias_ = &set.add({.name = name + ".bias", .shape = {outputs}, .init = init});
}

Var Linear::forward(Tape& tape, const Var& x) const {
  return ops::linear(tape, x, weight_->var, bias_->var, name_);
}

}  // namespace passnorm
