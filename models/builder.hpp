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
    const Shape& s = model_.architecture_.input;
    return {s[0], s[1], s[2]};
  }

  struct Built {
    const ConvNorm* layer;
    Extent out;
  };
  /// Square kernel, with a bias in a folded network only.
  Built conv_norm(const std::string& name, const Extent& in, int64_t outputs, int64_t kernel,
                  int64_t stride, int64_t pad);

  /// Checks that every pattern of the plan met a layer, and takes the memory.
  void finish();

 private:
  bool carries_passport(const std::string& name);

  Model& model_;
  std::vector<std::string> patterns_;
  std::set<std::string> unmet_;
  int64_t offset_ = 0;  ///< of the next site in the raw vector
};

}  // namespace passnorm
