// Layers with weights but without lanes of their own.
#pragma once

#include "engine/nn/parameter.hpp"
#include "kernels/convolution.hpp"

namespace passnorm {

/// Where weights start from.
enum class WeightInit {
  kFanOut,  ///< N(0, 2 / (O KH KW)), as both references' image layers
  kFanIn,   ///< U(+-1 / sqrt(K))
};

/// What is convolved: pictures; points, in files [O, I, 1]; or a vector, which makes it a linear
/// layer: a convolution of one position, its weight [O, I].
enum class ConvolutionForm { kPictures, kPoints, kVector };

struct ConvolutionOptions {
  ConvolutionForm form = ConvolutionForm::kPictures;
  bool bias = false;
  WeightInit init = WeightInit::kFanOut;
};

/// A convolution as it stands in a model: the sizes of its input are known.
class Convolution {
 public:
  /// Weight `name`.weight and, where options say so, bias `name`.bias ~ U(+-1 / sqrt(K)).
  /// geometry.n is ignored.
  Convolution(ParameterSet& set, const std::string& name, const kernels::ConvGeometry& geometry,
              const ConvolutionOptions& options = {});

  /// x [N, H, W, C], of a vector [N, 1, 1, C]; sums as in ops::convolution.
  Var forward(Tape& tape, const Var& x, bool relu = false, Tensor* sums = nullptr) const;
  const Var& weight() const { return weight_->var; }
  /// Without a value: none.
  Var bias() const { return bias_ ? bias_->var : Var{}; }
  const kernels::ConvGeometry& geometry() const { return geometry_; }
  ConvolutionForm form() const { return form_; }

 private:
  std::string name_;
  kernels::ConvGeometry geometry_;
  ConvolutionForm form_;
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
  std::string name_;
  Parameter *weight_, *bias_;
};

}  // namespace passnorm
