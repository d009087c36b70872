// Builder: names layers, tracks the sizes between them, and gives each the normalisation that the
// plan says.
#pragma once

#include <set>

#include "models/model.hpp"

namespace passnorm {

class Builder {
 public:
  explicit Builder(Model& model);

  /// Sizes [H, W, C] of an activation.
  struct Extent {
    int64_t h, w, c;
    int64_t positions() const { return h * w; }
  };
  Extent input() const {
    const Shape s = model_.input();
    return {s[0], s[1], s[2]};
  }

  /// A convolution with a square kernel, or a linear layer.
  struct Form {
    int64_t outputs = 0, kernel = 1, stride = 1, pad = 0;
    ConvolutionForm form = ConvolutionForm::kPictures;
    /// Bias outside a folded network, where every layer has one.
    enum class Bias { kNone, kAlways, kInPlainNetworks } bias = Bias::kNone;
    WeightInit init = WeightInit::kFanOut;
    bool normalise = true;   ///< false: at most a scale and shift
    bool transform = false;  ///< of a transform net: never a site, batch norms of their own per
                             ///< lane where the scheme says so
    float dropout = 0;       ///< before the norm
  };
  struct Built {
    const Layer* layer;
    Extent out;
  };
  /// Parameters `name`.conv.weight, of a vector `name`.linear.weight, and those of its norm.
  Built add(const std::string& name, const Extent& in, const Form& form);
  /// Without a bias.
  Built conv_norm(const std::string& name, const Extent& in, int64_t outputs, int64_t kernel,
                  int64_t stride, int64_t pad) {
    return add(name, in, {.outputs = outputs, .kernel = kernel, .stride = stride, .pad = pad});
  }

  /// Checks that every pattern of the plan met a layer, and takes the memory.
  void finish();

 private:
  bool carries_passport(const std::string& name);
  bool has_bias(const std::string& name, Form::Bias bias) const;
  std::optional<PassportNorm> norm_of(const std::string& name, const Form& form,
                                      const NormSpec& spec, bool site);

  Model& model_;
  std::vector<std::string> patterns_;
  std::set<std::string> unmet_;
  int64_t offset_ = 0;  ///< of the next site in the raw vector
};

}  // namespace passnorm
