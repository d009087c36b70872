// Layers with weights but without lanes of their own.
#pragma once

#include "engine/nn/parameter.hpp"
#include "kernels/convolution.hpp"

namespace passnorm {

/// A convolution as it stands in a model: the sizes of its input are fixed.
class Convolution {
 public:
  /// Weight `name`.weight ~ N(0, 2 / (O KH KW)) (fan out, as both references), and with bias
  /// `name`.bias, zero. geometry.n is ignored.
  Convolution(ParameterSet& set, const std::string& name, const kernels::ConvGeometry& geometry,
              bool bias = false);

  Var forward(Tape& tape, const Var& x, bool relu = false) const;
  const Var& weight() const { return weight_->var; }
  const kernels::ConvGeometry& geometry() const { return geometry_; }

 private:
  kernels::ConvGeometry geometry_;
  Parameter* weight_;
  Parameter* bias_ = nullptr;  ///< or none
};

/// y = x w^T + b; weight and bias ~ U(+-1 / sqrt(inputs)).
class Linear {
 public:
  /// positions: of the flattened image in front, 1 where there is none (FileLayout::kFlattened).
  Linear(ParameterSet& set, const std::string& name, int64_t inputs, int64_t outputs,
         int64_t positions = 1);

  Var forward(Tape& tape, const Var& x) const;

 private:
  Parameter *weight_, *bias_;
};

}  // namespace passnorm
