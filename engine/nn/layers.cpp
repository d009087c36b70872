#include "engine/nn/layers.hpp"

#include <cmath>

#include "engine/ops/ops.hpp"

namespace passnorm {

Convolution::Convolution(ParameterSet& set, const std::string& name, const kernels::ConvGeometry& g,
                         bool bias)
    : geometry_(g),
      weight_(
          &set.add({.name = name + ".weight",
                    .shape = {g.o, g.kh, g.kw, g.c},
                    .init = Init::normal(std::sqrt(2.0f / static_cast<float>(g.o * g.kh * g.kw))),
                    .layout = FileLayout::kConvolution})) {
  geometry_.n = 1;
  if (bias) bias_ = &set.add({.name = name + ".bias", .shape = {g.o}, .init = Init::constant(0)});
}

Var Convolution::forward(Tape& tape, const Var& x, bool relu) const {
  return ops::convolution(tape, x, weight_->var, bias_ ? bias_->var : Var{}, geometry_.stride,
                          geometry_.pad, relu);
}

Linear::Linear(ParameterSet& set, const std::string& name, int64_t inputs, int64_t outputs,
               int64_t positions) {
  const Init init = Init::uniform(1 / std::sqrt(static_cast<float>(inputs)));
  weight_ = &set.add({.name = name + ".weight",
                      .shape = {outputs, inputs},
                      .init = init,
                      .layout = positions > 1 ? FileLayout::kFlattened : FileLayout::kSame,
                      .positions = positions});
  bias_ = &set.add({.name = name + ".bias", .shape = {outputs}, .init = init});
}

Var Linear::forward(Tape& tape, const Var& x) const {
  return ops::linear(tape, x, weight_->var, bias_->var);
}

}  // namespace passnorm
