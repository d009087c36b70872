// ResNets for 32x32 images: 3x3 stem, four stages of basic blocks (He et al. 2016), mean pool,
// linear.
#include <optional>

#include "engine/ops/ops.hpp"
#include "models/builder.hpp"
#include "models/networks.hpp"

namespace passnorm::models {
namespace {

using kernels::NormActivation;

class ResNet final : public Model {
 public:
  ResNet(const Architecture& row, int blocks, std::shared_ptr<Stream> stream,
         const ModelOptions& options)
      : Model(row, std::move(stream), options) {
    Builder builder(*this);
    const auto stem = builder.conv_norm("convbnrelu_1", builder.input(), 64, 3, 1, 1);
    stem_ = stem.layer;
    Builder::Extent at = stem.out;
    for (int stage = 1; stage <= 4; ++stage)
      for (int i = 0; i < blocks; ++i) {
        const int64_t outputs = int64_t{32} << stage, stride = stage > 1 && i == 0 ? 2 : 1;
        const std::string prefix = concat("layer", stage, ".", i, ".");
        const auto first = builder.conv_norm(prefix + "convbnrelu_1", at, outputs, 3, stride, 1);
        const auto second = builder.conv_norm(prefix + "convbn_2", first.out, outputs, 3, 1, 1);
        Block block{first.layer, second.layer, nullptr};
        if (stride != 1 || at.c != outputs)
          block.shortcut = builder.conv_norm(prefix + "shortcut", at, outputs, 1, stride, 0).layer;
        blocks_.push_back(block);
        at = second.out;
      }
    linear_.emplace(parameters(), "linear", at.c, options.classes);
    builder.finish();
  }

 private:
  struct Block {
    const Layer *first, *second, *shortcut;  ///< shortcut: null for the identity
  };

  Var run(Pass& pass, const Var& input) override {
    const bool relu_everywhere = options().residual_relu;
    Var x = run_layer(pass, *stem_, input);
    for (const Block& b : blocks_) {
      const Var h = run_layer(pass, *b.first, x);
      ops::Residual residual = x;
      if (b.shortcut)
        residual = relu_everywhere
                       ? run_layer(pass, *b.shortcut, x, {.activation = NormActivation::kRelu})
                       : run_shortcut(pass, *b.shortcut, x);
      // With a ReLU on both operands the one after the sum changes nothing.
      x = run_layer(
          pass, *b.second, h,
          {.activation = relu_everywhere ? NormActivation::kReluThenAdd : NormActivation::kRelu,
           .residual = residual});
    }
    return linear_->forward(pass.tape, ops::global_mean_pool(pass.tape, x));
  }

  const Layer* stem_;
  std::vector<Block> blocks_;
  std::optional<Linear> linear_;
};

}  // namespace

std::unique_ptr<Model> make_resnet9(const Architecture& row, std::shared_ptr<Stream> stream,
                                    const ModelOptions& options) {
  return std::make_unique<ResNet>(row, 1, std::move(stream), options);
}

std::unique_ptr<Model> make_resnet18(const Architecture& row, std::shared_ptr<Stream> stream,
                                     const ModelOptions& options) {
  return std::make_unique<ResNet>(row, 2, std::move(stream), options);
}

}  // namespace passnorm::models
