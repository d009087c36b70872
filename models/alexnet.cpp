// AlexNet for 32x32 images as both references have it: five convolutions, no dropout, one linear
// layer.
#include <optional>

#include "engine/ops/ops.hpp"
#include "models/builder.hpp"
#include "models/networks.hpp"

namespace passnorm::models {
namespace {

constexpr ops::PoolWindow kHalve{.size = 2, .stride = 2};

class AlexNet final : public Model {
 public:
  AlexNet(const Architecture& row, std::shared_ptr<Stream> stream, const ModelOptions& options)
      : Model(row, std::move(stream), options) {
    Builder builder(*this);
    Builder::Extent at = builder.input();
    const auto add = [&](const char* name, int64_t outputs, int64_t kernel,
                         std::optional<ops::PoolWindow> pool) {
      const auto [layer, out] = builder.conv_norm(name, at, outputs, kernel, 1, kernel / 2);
      features_.push_back({layer, pool});
      at = pool ? Builder::Extent{out.h / 2, out.w / 2, out.c} : out;
    };
    add("features.0", 64, 5, kHalve);
    add("features.2", 192, 5, kHalve);
    add("features.4", 384, 3, {});
    add("features.5", 256, 3, {});
    add("features.6", 256, 3, kHalve);
    classifier_.emplace(parameters(), "classifier", at.positions() * at.c, options.classes,
                        at.positions());
    builder.finish();
  }

 private:
  struct Feature {
    const Layer* layer;
    std::optional<ops::PoolWindow> pool;
  };

  Var run(Pass& pass, const Var& input) override {
    Var x = input;
    for (const Feature& f : features_) x = run_layer(pass, *f.layer, x, {.pool = f.pool});
    return classifier_->forward(pass.tape,
                                x.reshape({x.shape()[0], x.value.size() / x.shape()[0]}));
  }

  std::vector<Feature> features_;
  std::optional<Linear> classifier_;
};

}  // namespace

std::unique_ptr<Model> make_alexnet(const Architecture& row, std::shared_ptr<Stream> stream,
                                    const ModelOptions& options) {
  return std::make_unique<AlexNet>(row, std::move(stream), options);
}

}  // namespace passnorm::models
