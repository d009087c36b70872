// A network small enough for a CPU to train in two minutes: 32-64-128 channels, each followed by a
// 2x2 maximum, one residual convolution, mean pool, linear. 12.7 M multiply-adds an image.
#include <optional>

#include "engine/ops/ops.hpp"
#include "models/builder.hpp"
#include "models/networks.hpp"

namespace passnorm::models {
namespace {

constexpr ops::PoolWindow kHalve{.size = 2, .stride = 2};

class Tiny final : public Model {
 public:
  Tiny(const Architecture& row, std::shared_ptr<Stream> stream, const ModelOptions& options)
      : Model(row, std::move(stream), options) {
    Builder builder(*this);
    Builder::Extent at = builder.input();
    for (int i = 0; i < 3; ++i) {
      const auto [layer, out] =
          builder.conv_norm(concat("conv", i + 1), at, int64_t{32} << i, 3, 1, 1);
      plain_.push_back(layer);
      at = {out.h / 2, out.w / 2, out.c};
    }
    residual_ = builder.conv_norm("conv4", at, at.c, 3, 1, 1).layer;
    linear_.emplace(parameters(), "linear", at.c, options.classes);
    builder.finish();
  }

 private:
  Var run(Pass& pass, const Var& input) override {
    Var x = input;
    for (const Layer* layer : plain_) x = run_layer(pass, *layer, x, {.pool = kHalve});
    x = run_layer(pass, *residual_, x, {.residual = x});
    return linear_->forward(pass.tape, ops::global_mean_pool(pass.tape, x));
  }

  std::vector<const Layer*> plain_;
  const Layer* residual_;
  std::optional<Linear> linear_;
};

}  // namespace

std::unique_ptr<Model> make_tiny(const Architecture& row, std::shared_ptr<Stream> stream,
                                 const ModelOptions& options) {
  return std::make_unique<Tiny>(row, std::move(stream), options);
}

}  // namespace passnorm::models
